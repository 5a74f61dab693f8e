"""A hit of the ASGI middleware, over an application that answers at once.

A hit never waits, so a call is one step of its coroutine. What is timed includes no event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.overhead.environs import COMMON, PATH
from benchmarks.overhead.results import BARE
from benchmarks.overhead.timing import Application, Environ, Subject, WrongWay
from latchkey import Latchkey
from latchkey.asgi import LatchkeyMiddleware
from latchkey.box.counter_names import Count

AsgiApplication = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


def subjects(
    latchkey: Latchkey, secrets: list[str], next_secret: Callable[[], str]
) -> dict[str, Subject]:
    """The bare application and the middleware; each of the secrets is checked once before."""
    middleware = LatchkeyMiddleware(_answer, latchkey)

    async def warm() -> None:
        for secret in secrets:
            await middleware(_scope(secret), _receive, _send)

    asyncio.run(warm())
    counters = latchkey.authenticator.counters
    return {
        BARE: Subject(_in_one_step(_answer), lambda: _scope(next_secret()), None),
        "ASGI hit": Subject(
            _in_one_step(middleware),
            lambda: _scope(next_secret()),
            None,
            lambda: counters.value(Count.CACHE_HIT),
        ),
    }


def _in_one_step(application: AsgiApplication) -> Application:
    def call(scope: Environ, start_response: Any) -> list[bytes]:
        try:
            application(scope, _receive, _send).send(None)
        except StopIteration:
            return []
        raise WrongWay("the application waited")

    return call


def _scope(secret: str) -> Environ:
    """A GET request as uvicorn passes it on."""
    headers = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in COMMON]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 40000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [*headers, (b"authorization", f"Bearer {secret}".encode())],
        "state": {},
    }


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    """Discard the message."""
