"""Rules of a routes file: what a request behind a proxy needs, by host, method and path.

The first matching rule decides. Paths are written in the language of a key's endpoint rules.
``rules_file`` reads the rules from TOML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from latchkey.credentials.endpoints import EndpointRule, endpoint_within, path_expression
from latchkey.credentials.models import Mode

ANY_HOST = "*"
LONGEST_HOST = 253
"""The most characters of a host name."""

_SUBDOMAINS = "*."


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule. ``line`` is its place in the file, counted from 1.

    Without scopes, every valid key of the mode is sufficient. All of ``scopes`` are needed, and one
    of ``scope_any``, if there are any. ``mode`` is None where the rule names none, and ``cost`` is
    then 1. A request to an ``open`` rule needs no key.
    """

    line: int
    host: str
    endpoints: tuple[EndpointRule, ...]
    """The methods, each with the path of the rule."""
    scopes: tuple[str, ...] = ()
    scope_any: tuple[str, ...] = ()
    mode: Mode | None = None
    cost: int = 1
    open: bool = False

    def __str__(self) -> str:
        methods = ", ".join(endpoint.method for endpoint in self.endpoints)
        path = str(self.endpoints[0]).partition(" ")[2]
        return f"{methods} {'' if self.host == ANY_HOST else self.host}{path}"

    def covers(self, other: Rule) -> bool:
        """Whether every request that ``other`` matches is matched by this rule."""
        return _covers_host(self.host, other.host) and all(
            endpoint_within(endpoint, self.endpoints) for endpoint in other.endpoints
        )


class Rules:
    """Rules in the order of their file, arranged as one linear expression."""

    __slots__ = ("_match", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._match = re.compile(expression_of(self.rules), re.DOTALL).fullmatch

    def match(self, method: str, host: str, path: str) -> Rule | None:
        """The first rule that matches; None if none does, and the request is refused.

        ``host`` is in lower case and without a port. ``path`` is decoded and has the form of WSGI's
        PATH_INFO: bytes of UTF-8 as Latin-1.
        """
        if len(host) > LONGEST_HOST or " " in host or " " in method:
            return None
        found = self._match(f"{host} {method} {path}")
        return None if found is None or found.lastindex is None else self.rules[found.lastindex - 1]

    def unreachable(self) -> list[tuple[Rule, Rule]]:
        """Each rule that can never match, with the earlier rule that matches all its requests."""
        found = []
        for number, rule in enumerate(self.rules):
            earlier = next((one for one in self.rules[:number] if one.covers(rule)), None)
            if earlier is not None:
                found.append((rule, earlier))
        return found


def expression_of(rules: Iterable[Rule]) -> str:
    """A regular expression for "host METHOD /path", with one group for each rule."""
    return rf"\A(?:{'|'.join(map(_alternative, rules))})\Z"


def _alternative(rule: Rule) -> str:
    methods = "|".join(map(_method_expression, rule.endpoints))
    return f"({_host_expression(rule.host)} (?:{methods}) {path_expression(rule.endpoints[0])})"


def _method_expression(endpoint: EndpointRule) -> str:
    if endpoint.method == "*":
        return "[^ ]+"
    return "GET|HEAD" if endpoint.method == "GET" else re.escape(endpoint.method)


def _host_expression(host: str) -> str:
    if host == ANY_HOST:
        return "[^ ]*"
    if host.startswith(_SUBDOMAINS):
        return rf"[^ ]+\.{re.escape(host.removeprefix(_SUBDOMAINS))}"
    return re.escape(host)


def _covers_host(own: str, other: str) -> bool:
    """Whether a host of a rule covers that of another rule."""
    if own in (ANY_HOST, other):
        return True
    return own.startswith(_SUBDOMAINS) and other.removeprefix("*").endswith(own[1:])
