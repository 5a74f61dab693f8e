"""The decision about an original request: whether it is open, and what its caller needs.

The credential was checked before. What the URL names and what a rule of the routes file names must
both be met.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl
from wsgiref.types import WSGIEnvironment

from latchkey.credentials.models import Mode, Principal
from latchkey.credentials.requirement import Requirement
from latchkey.errors import EndpointNotAllowed, InvalidRequest, ModeNotAllowed
from latchkey_service.repeated_headers import is_repeated
from latchkey_service.verify.needs import NO_NEEDS, Needs, needs_of, requirement_of
from latchkey_service.verify.originals import CADDY, Original, Proxy
from latchkey_service.verify.rules import Rule, Rules
from latchkey_service.verify.targets import path_of, query_of

DEFAULT_MODE: Mode = "live"
"""The mode of keys that are admitted where neither the URL nor a rule names one."""

log = logging.getLogger("latchkey")

_CREDENTIALS = ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_X_API_SECRET")


class Examiner:
    """Decides about the requests that one kind of proxy asks about.

    ``rules`` are those of the routes file; with None, the URL alone names what is needed.
    """

    def __init__(self, proxy: Proxy, rules: Rules | None) -> None:
        self._proxy = proxy
        self._rules = rules
        self._has_open_rules = rules is not None and any(rule.open for rule in rules.rules)
        # The mode of a URL, and the line of a rule with another mode, that were logged.
        self._contradictions: set[tuple[Mode, int]] = set()
        # By the id of a rule: the rules live as long as this object.
        self._requirements: dict[int, Requirement] = {
            id(rule): requirement_of(rule.scopes, rule.scope_any)
            for rule in ([] if rules is None else rules.rules)
        }

    def is_open(self, environ: WSGIEnvironment) -> bool:
        """Whether the request passes without a credential: by an open rule, or as a preflight."""
        if not (self._has_open_rules or (self._proxy.reads_query and "?" in environ["RAW_URI"])):
            return False
        try:
            original, needs = self._read(environ)
            if needs.preflight is not None and _is_preflight(environ, original):
                asked = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
                return self._rules is None or _match(self._rules, original, asked) is not None
            if self._rules is None or needs.are_named:
                return False
            rule = _match(self._rules, original, original.method)
        except InvalidRequest:
            return False
        return rule is not None and rule.open

    def cost(self, environ: WSGIEnvironment) -> int:
        """The units that the original request takes of each limit of its key.

        It is the larger of the costs of the URL and the rule. Raises InvalidRequest for an
        incomplete original request or an invalid URL, and EndpointNotAllowed without a rule.
        """
        original, needs = self._read(environ)
        rule = self._rule(original)
        return max(needs.cost or 1, 1 if rule is None else rule.cost)

    def require(self, environ: WSGIEnvironment, principal: Principal) -> None:
        """Raise an ApiError unless the caller may make the original request.

        The errors of ``cost`` come first, then ModeNotAllowed and InsufficientScope.
        """
        original, needs = self._read(environ)
        rule = self._rule(original)
        self._require_mode(principal, needs.mode, rule)
        needs.requirement.check(principal, {})
        if rule is not None:
            self._requirements[id(rule)].check(principal, {})

    def _rule(self, original: Original) -> Rule | None:
        """The rule for a request; None without a routes file."""
        if self._rules is None:
            return None
        rule = _match(self._rules, original, original.method)
        if rule is None:
            raise EndpointNotAllowed("No rule of the routes file allows this request")
        return rule

    def _require_mode(self, principal: Principal, of_url: Mode | None, rule: Rule | None) -> None:
        """Raise ModeNotAllowed unless the key has each of the modes, or the default mode for none.

        If the modes differ, no key is accepted, and this is logged once.
        """
        of_rule = None if rule is None else rule.mode
        if of_url is not None and rule is not None and of_rule not in (None, of_url):
            if (of_url, rule.line) not in self._contradictions:
                self._contradictions.add((of_url, rule.line))
                log.warning(
                    "no key is accepted: the verify URL of %s needs %s keys, and line %d of the "
                    "routes file needs %s keys",
                    *(self._proxy.name, of_url, rule.line, of_rule),
                )
            raise ModeNotAllowed(
                f"No API key is accepted here: the verify URL needs a {of_url} key, and the rule "
                f"of the routes file needs a {of_rule} key"
            )
        needed = of_url or of_rule or DEFAULT_MODE
        if principal.mode != needed:
            raise ModeNotAllowed(
                f"API keys of the mode {principal.mode} are not accepted here: use a {needed} key"
            )

    def _read(self, environ: WSGIEnvironment) -> tuple[Original, Needs]:
        original = self._proxy.read(environ)
        if not self._proxy.reads_query:
            return original, NO_NEEDS
        query = query_of(environ["RAW_URI"])
        if self._proxy is CADDY and _is_of_client(query, query_of(original.target)):
            raise InvalidRequest(
                "The query of the verify URL is that of the client: end the configured uri with ?"
            )
        return original, needs_of(query)


def _match(rules: Rules, original: Original, method: str) -> Rule | None:
    return rules.match(method, original.host, path_of(original.target))


def _is_preflight(environ: WSGIEnvironment, original: Original) -> bool:
    """Whether the original request is a CORS preflight request as browsers send it."""
    if original.method != "OPTIONS" or not environ.keys().isdisjoint(_CREDENTIALS):
        return False
    return all(
        environ.get(f"HTTP_{name.replace('-', '_')}") and not is_repeated(environ, name)
        for name in ("ORIGIN", "ACCESS-CONTROL-REQUEST-METHOD")
    )


def _is_of_client(query: str, of_client: str) -> bool:
    """Whether Caddy appended the client's query to a route that was configured without one."""
    if not query or not of_client:
        return False
    return query == of_client or parse_qsl(query, True) == parse_qsl(of_client, True)
