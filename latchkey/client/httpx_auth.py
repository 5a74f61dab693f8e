"""The auth class for httpx, for its clients with and without asyncio."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator

import anyio
import httpx

from latchkey.client.attempts import Attempts, may_carry_key
from latchkey.client.keys import ClientKey, CurrentKey, KeyEnvironment, KeySource, Scheme


class HttpxAuth(httpx.Auth):
    """Sends a key with each request, follows its rotation, and obeys ``Retry-After``.

    ``source`` is a KeyFile, a KeyEnvironment (the default) or another KeySource. After a 401 it is
    read again; if it has another key, the request is sent once more. After a 429 or 503 with
    ``Retry-After``, the request is sent again after that time, ``max_retries`` times at most, and
    waiting ``max_wait`` seconds at most in all. A request whose body is read from a file or a
    generator is never sent again. A redirect to another origin is followed without the key.

    Raises ConfigurationError if there is no key. It may be used from many threads, tasks and
    clients.
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
        return f"HttpxAuth({self._current.key!r}, scheme={self._current.scheme!r})"

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request with the key, and again if its answer calls for it; called by httpx."""
        exchange = self._begin(request)
        response = yield exchange.signed()
        while exchange.may_follow(response):
            pause = exchange.pause_after(response)
            if pause is None:
                return
            response.read()
            time.sleep(pause)
            response = yield exchange.signed()

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """The same for an asynchronous client: the event loop is never blocked."""
        exchange = self._begin(request)
        response = yield exchange.signed()
        while exchange.may_follow(response):
            pause = await anyio.to_thread.run_sync(exchange.pause_after, response)
            if pause is None:
                return
            await response.aread()
            await anyio.sleep(pause)
            response = yield exchange.signed()

    def _begin(self, request: httpx.Request) -> _HttpxExchange:
        return _HttpxExchange(request, Attempts(self._current, *self._limits), self._current.scheme)


class _HttpxExchange:
    """One request, and the request that takes its place after redirects within the origin."""

    def __init__(self, request: httpx.Request, attempts: Attempts, scheme: Scheme) -> None:
        self._request = request
        self._attempts = attempts
        self._scheme = scheme
        self._first = str(request.url)
        # A redirected request has no pair.
        self._lacks_key = False

    def signed(self) -> httpx.Request:
        """The request to send, with the key."""
        if self._scheme == "pair":
            self._request.headers = _WithPair(self._request.headers, self._attempts.key)
        else:
            self._request.headers.update(self._attempts.key.headers(self._scheme))
        return self._request

    def may_follow(self, response: httpx.Response) -> bool:
        """Whether another attempt may follow; it waits for nothing."""
        requests = [one.request for one in (*response.history, response)]
        if not all(may_carry_key(self._first, str(one.url)) for one in requests):
            return False
        self._lacks_key = self._scheme == "pair" and response.request is not self._request
        self._request = response.request
        in_memory = isinstance(self._request.stream, httpx.ByteStream)
        return in_memory and (self._lacks_key or self._attempts.may_follow(response.status_code))

    def pause_after(self, response: httpx.Response) -> float | None:
        """The seconds to wait before the next attempt, or None if there is none."""
        if self._lacks_key and response.status_code == httpx.codes.UNAUTHORIZED:
            return 0.0
        return self._attempts.pause_after(response.status_code, response.headers.get("Retry-After"))


class _WithPair(httpx.Headers):
    """Headers that are sent with a pair, which their copies and their ``repr`` do not have.

    httpx copies the headers of a request to the next one after a redirect, and removes only
    ``Authorization`` where that leads to another origin.
    """

    def __init__(self, headers: httpx.Headers, key: ClientKey) -> None:
        super().__init__(headers)
        self._pair = [
            (name.encode(), value.encode()) for name, value in key.headers("pair").items()
        ]

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent."""
        return [*super().raw, *self._pair]
