"""The auth class for requests."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urljoin

from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase
from requests.sessions import SessionRedirectMixin
from requests.utils import rewind_body

from latchkey.client.attempts import Attempts, may_carry_key
from latchkey.client.keys import CurrentKey, KeyEnvironment, KeySource, Scheme


class RequestsAuth(AuthBase):
    """Sends a key with each request, follows its rotation, and obeys ``Retry-After``.

    ``source`` is a KeyFile, a KeyEnvironment (the default) or another KeySource. After a 401 it is
    read again; if it has another key, the request is sent once more. After a 429 or 503 with
    ``Retry-After``, the request is sent again after that time, ``max_retries`` times at most, and
    waiting ``max_wait`` seconds at most in all. A request whose body was read from a generator is
    never sent again. A redirect to another origin is followed without the key.

    Raises ConfigurationError if there is no key. It may be used from many threads and sessions.
    """

    def __init__(
        self,
        source: KeySource | None = None,
        *,
        scheme: Scheme = "bearer",
        max_retries: int = 3,
        max_wait: float = 60.0,
    ) -> None:
        self._current = CurrentKey(source or KeyEnvironment(), scheme)
        self._limits = (max_retries, max_wait)

    def __repr__(self) -> str:
        return f"RequestsAuth({self._current.key!r}, scheme={self._current.scheme!r})"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the key to a request; called by requests."""
        exchange = _RequestsExchange(Attempts(self._current, *self._limits), self._current.scheme)
        exchange.sign(request)
        request.hooks["response"].append(exchange.respond)
        return request


class _RequestsExchange:
    """One request and the requests that its redirects lead to, which share this object."""

    def __init__(self, attempts: Attempts, scheme: Scheme) -> None:
        self._attempts = attempts
        self._scheme = scheme
        self._is_signed = True

    def sign(self, request: PreparedRequest) -> None:
        request.headers.update(self._attempts.key.headers(self._scheme))

    def respond(self, response: Response, **options: Any) -> Response:
        """Send a request again if its answer calls for it; the hook of requests."""
        request = response.request
        while self._is_signed and _can_be_sent_again(request):
            retry_after = response.headers.get("Retry-After")
            pause = self._attempts.pause_after(response.status_code, retry_after)
            if pause is None:
                break
            # The connection is free for others meanwhile.
            response.content  # noqa: B018 - read once, and kept
            response.close()
            time.sleep(pause)
            if _position_of_body(request) is not None:
                rewind_body(request)
            self.sign(request)
            again: Response = response.connection.send(request, **options)
            again.history = [*response.history, response]
            response = again
        # requests copies the headers for the next request, and knows only `Authorization`.
        if self._is_signed and response.is_redirect and _leads_elsewhere(response):
            self._is_signed = False
            for name in self._attempts.key.headers(self._scheme):
                request.headers.pop(name, None)
        return response


def _can_be_sent_again(request: PreparedRequest) -> bool:
    in_memory = request.body is None or isinstance(request.body, str | bytes)
    return in_memory or isinstance(_position_of_body(request), int)


def _position_of_body(request: PreparedRequest) -> object:
    """The place in a file where the body begins, as requests noted it, or None."""
    return getattr(request, "_body_position", None)


def _leads_elsewhere(response: Response) -> bool:
    """Whether a redirect leads to another origin; requests prepares its URL in the same way."""
    target = SessionRedirectMixin().get_redirect_target(response)
    following = PreparedRequest()
    try:
        following.prepare_url(urljoin(response.url, target), None)
    except RequestException:
        return True
    return following.url is None or not may_carry_key(response.url, following.url)
