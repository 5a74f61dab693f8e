"""An ASGI application that records its scopes, and calls as a server makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.auth.plain_application import Answer

Headers = Iterable[tuple[str, str]]


@dataclass
class AsgiApplication:
    """Answers every request with ``hello``, accepts every handshake, and records the scopes."""

    scopes: list[Any] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            body = b"" if scope["method"] == "HEAD" else b"hello"
            await send({"type": "http.response.body", "body": body})

    @property
    def principals(self) -> list[Any]:
        return [scope["state"]["principal"] for scope in self.scopes]


def new_scope(
    path: str = "/",
    headers: dict[str, str] | Headers = (),
    method: str = "GET",
    *,
    kind: str = "http",
    peer: str = "192.0.2.7",
    **more: Any,
) -> dict[str, Any]:
    """A scope as uvicorn creates it."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": (peer, 40000),
        "scheme": "http",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs
        ],
        "state": {},
        **more,
    }
    if kind == "http":
        scope["method"] = method
    return scope


async def exchange(application: Any, scope: Any, *received: Any) -> list[Any]:
    """Call an application, which receives these messages; returns the messages that it sends."""
    waiting = list(received) or [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent


async def ask(application: Any, scope: Any) -> Answer:
    """The answer to one request."""
    start, *parts = await exchange(application, scope)
    assert start["type"] == "http.response.start"
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    assert len(headers) == len(start["headers"])
    return Answer(start["status"], headers, b"".join(part["body"] for part in parts))


def asked(application: Any, *arguments: Any, **more: Any) -> Answer:
    """The answer to one request with the scope that ``new_scope`` creates, in a loop of its own."""
    return asyncio.run(ask(application, new_scope(*arguments, **more)))
