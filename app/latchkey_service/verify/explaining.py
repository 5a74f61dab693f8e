"""What the answer to a proxy would be, by the code that decides about real requests.

Nothing is counted, taken from limits or changed. The secret of the key counts as right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from latchkey.addresses import ClientAddresses
from latchkey.check.limit_levels import LimitLevel
from latchkey.credentials.conditions import Evaluation
from latchkey.credentials.importing import NO_DERIVATION_KEY
from latchkey.credentials.limits import RateLimit
from latchkey.credentials.models import Credential
from latchkey.errors import (
    ApiError,
    ExpiredCredential,
    InvalidCredential,
    InvalidRequest,
    MissingCredential,
    QuotaExceeded,
    RateLimited,
    RevokedCredential,
)
from latchkey_service.verify.answers import NOT_IN_NGINX
from latchkey_service.verify.deciding import Examiner
from latchkey_service.verify.original_conditions import OriginalFacts
from latchkey_service.verify.originals import AREA, NGINX, Original, Proxy, host_of, method_of
from latchkey_service.verify.rules import Rule, Rules
from latchkey_service.verify.targets import path_of

_FORWARDED = ClientAddresses(1, or_peer=False)


@dataclass(frozen=True)
class Asked:
    """What a proxy asks about.

    ``address`` is that of the client; None if the proxy does not forward it. ``needs`` is the query
    of the verify URL.
    """

    proxy: Proxy
    original: Original
    address: str | None = None
    needs: str = ""

    @property
    def url(self) -> str:
        """The verify URL, without the host of Latchkey."""
        return f"{AREA}{self.proxy.name}{'?' if self.needs else ''}{self.needs}"


class Explained(NamedTuple):
    """The answer to a request, and the rule that matches it.

    ``error`` is None for 200. ``open``: no key is needed. ``cost`` is what the request would take
    from each limit, 0 if no limit applies. ``levels`` are those of the limits before the request.
    """

    original: Original
    rule: Rule | None
    open: bool
    error: ApiError | None
    cost: int = 0
    levels: Sequence[LimitLevel] = ()

    @property
    def status(self) -> int:
        """The status for the client."""
        return HTTPStatus.OK.value if self.error is None else self.error.status.value

    def status_for(self, proxy: Proxy) -> int:
        """The status that the proxy is answered with; nginx passes on only some."""
        if proxy.name == NGINX.name and self.status in NOT_IN_NGINX:
            return HTTPStatus.FORBIDDEN.value
        return self.status


def original_of(method: str, url: str, host: str | None) -> Original:
    """The request that a client sends to a URL, or to a path at ``host``.

    Raises ValueError for a text that is neither, and InvalidRequest for an invalid method or host.
    """
    target = url
    if not url.startswith("/"):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("give a URL such as https://api.example.com/orders, or a path")
        # The target as it is written: urlsplit would change some characters.
        rest = url.partition("://")[2]
        end = min((rest.find(one) for one in "/?" if one in rest), default=len(rest))
        target = rest[end:]
        if not target.startswith("/"):
            target = f"/{target}"
        host = host or parts.netloc.rpartition("@")[2]
    return Original(
        method_of(method), target.encode().decode("latin-1"), host_of(host or "localhost")
    )


def head_of(asked: Asked) -> bytes:
    """The head of the request by which the proxy asks, with the headers that describe it."""
    proxy, original = asked.proxy, asked.original
    headers = [] if asked.address is None else [("X-Forwarded-For", asked.address)]
    if proxy.reads_query:
        line = f"GET {asked.url} HTTP/1.1"
        headers += [("Host", "latchkey"), *zip(proxy.headers, original, strict=True)]
    else:
        # Its path continues with the target of the client, and its method is the client's.
        line = f"{original.method} {asked.url}{original.target} HTTP/1.1"
        headers.append(("Host", original.host))
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{one}\r\n" for one in [*lines, ""]).encode("latin-1")


def explain(
    asked: Asked,
    rules: Rules | None,
    credential: Credential | None,
    *,
    listed: Collection[str],
    now: datetime,
    levels: Sequence[LimitLevel] = (),
) -> Explained:
    """What the answer would be for the key of ``credential``, or without a key for None.

    ``listed`` are the ids of the derivation keys in use, and ``levels`` what remains of the limits
    of the key. The server has parsed the request.
    """
    original = asked.original
    proxy = replace(asked.proxy, read=lambda environ: original)
    environ: WSGIEnvironment = {"RAW_URI": asked.url, "REQUEST_METHOD": original.method}
    if asked.address is not None:
        environ["HTTP_X_FORWARDED_FOR"] = asked.address
    examiner = Examiner(proxy, rules)
    rule = matching(rules, original)
    if examiner.is_open(environ):
        return Explained(original, rule, True, None)
    cost = 0
    try:
        if credential is None:
            raise MissingCredential
        _require_usable(credential, OriginalFacts(proxy, _FORWARDED, environ), listed, now)
        if levels:
            cost = examiner.cost(environ)
            _require_units(levels, cost)
        examiner.require(environ, credential.principal())
    except ApiError as error:
        return Explained(original, rule, False, error, cost, levels if cost else ())
    return Explained(original, rule, False, None, cost, levels if cost else ())


def matching(rules: Rules | None, original: Original) -> Rule | None:
    """The rule that matches; None if there is none, or if the path is refused."""
    try:
        path = path_of(original.target)
    except InvalidRequest:
        return None
    return None if rules is None else rules.match(original.method, original.host, path)


def _require_usable(
    credential: Credential, facts: OriginalFacts, listed: Collection[str], now: datetime
) -> None:
    """Raise the refusal of a right secret, in the order of the check."""
    if credential.derivation_id not in (*listed, NO_DERIVATION_KEY):
        raise InvalidCredential("The key was made with a derivation key that is not listed")
    if credential.revoked_at is not None:
        raise RevokedCredential
    evaluation = Evaluation(credential.effective_conditions)
    objection = evaluation.objection_at(now)
    if objection is not None:
        if credential.account.disabled_at is not None:
            raise type(objection)("The account of the key is disabled")
        raise objection
    if credential.expires_at is not None and now >= credential.expires_at:
        raise ExpiredCredential
    objection = evaluation.objection_to(facts)
    if objection is not None:
        raise objection


def _require_units(levels: Sequence[LimitLevel], cost: int) -> None:
    """Raise the refusal of the first limit that has too few units left."""
    for level in levels:
        if level.remaining < cost:
            refusal = RateLimited if isinstance(level.limit, RateLimit) else QuotaExceeded
            raise refusal(
                None, f"The limit {level.name} has {level.remaining} of {cost} units left"
            )
