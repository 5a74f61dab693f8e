"""The answers to a proxy: who the caller is, or the refusal in a form that the proxy passes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

from fastcache import LRUCache
from fastcache.shared import Counters
from latchkey.box.counter_names import Verified, verified_index
from latchkey.credentials.models import Principal
from latchkey.error_answers import status_line
from latchkey.errors import ApiError
from latchkey.wsgi_answers import error_answer
from latchkey_service.verify.originals import NGINX, Proxy

Headers = tuple[tuple[str, str], ...]

OK = "200 OK"
_PREPARED = 4_096
_COMMON: Headers = (("Content-Length", "0"), ("Cache-Control", "no-store"))
# The statuses that nginx does not pass on from an authentication request.
NOT_IN_NGINX = (HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS)
_FORBIDDEN = "403 Forbidden"
_OUTCOMES = {
    HTTPStatus.BAD_REQUEST: Verified.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED: Verified.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: Verified.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS: Verified.RATE_LIMITED,
    HTTPStatus.INTERNAL_SERVER_ERROR: Verified.FAILED,
}


def identity_headers(principal: Principal | None) -> Headers:
    """What the application behind the proxy learns of the caller; empty where there is no value.

    All headers are always there, so that a proxy overwrites those that the client sent.
    """
    if principal is None:
        return _identity("", "", "", "", "", "")
    return _identity(
        principal.api_key,
        principal.account_id,
        principal.external_id or "",
        principal.mode,
        " ".join(sorted(principal.scopes)),
        base64.urlsafe_b64encode((principal.metadata_text or "").encode()).decode(),
    )


def _identity(
    api_key: str, account: str, external_id: str, mode: str, scopes: str, metadata: str
) -> Headers:
    named = {
        "X-Latchkey-Key": api_key,
        "X-Latchkey-Account": account,
        "X-Latchkey-External-Id": external_id,
        "X-Latchkey-Mode": mode,
        "X-Latchkey-Scopes": scopes,
        "X-Latchkey-Metadata": metadata,
    }
    return tuple((name, _in_header(value)) for name, value in named.items())


def _in_header(text: str) -> str:
    """The text, if it can be the value of a header; stored text has been checked before."""
    return text if text.isascii() and text.isprintable() else ""


_ANONYMOUS = (*_COMMON, *identity_headers(None))


class ProxyAnswers:
    """Answers the requests of one kind of proxy."""

    def __init__(self, proxy: Proxy, counters: Counters) -> None:
        """``counters`` are the worker's for proxies."""
        self._is_nginx = proxy is NGINX
        self._counters = counters
        self._at = {outcome: verified_index(proxy.name, outcome) for outcome in Verified}
        # By the id of a principal, which is stored with its headers and so keeps its id.
        self._prepared: LRUCache[int, tuple[Principal, Headers]] = LRUCache(_PREPARED)

    def admit(self, principal: Principal | None, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 200 with the headers of a principal; None for a request that needs no key."""
        outcome = Verified.OPEN if principal is None else Verified.ALLOWED
        self._counters.add(self._at[outcome])
        start_response(OK, list(self.headers_of(principal)))
        return []

    def headers_of(self, principal: Principal | None) -> Headers:
        """All headers of the answer to an allowed request."""
        if principal is None:
            return _ANONYMOUS
        prepared = self._prepared.get(id(principal))
        if prepared is None or prepared[0] is not principal:
            prepared = (principal, (*_COMMON, *identity_headers(principal)))
            self._prepared[id(principal)] = prepared
        return prepared[1]

    def refuse(
        self, error: ApiError, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a refused request with the error in the envelope."""
        self._counters.add(self._at[_OUTCOMES[error.status]])
        body, headers = error_answer(error, environ)
        status = status_line(error)
        if self._is_nginx:
            status, more = for_nginx(error, body)
            headers = [*headers, *more]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def for_nginx(error: ApiError, body: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The status line for nginx, and more headers, with what nginx does not pass on itself.

    These are the status that is meant, the body, and when to try again.
    """
    headers = [
        ("X-Latchkey-Status", str(error.status.value)),
        ("X-Latchkey-Error", json.dumps(json.loads(body))),
    ]
    if error.retry_after is not None:
        headers.append(("X-Latchkey-Retry-After", str(error.retry_after)))
    return _FORBIDDEN if error.status in NOT_IN_NGINX else status_line(error), headers
