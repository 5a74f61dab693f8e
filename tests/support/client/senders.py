"""The same requests with each HTTP library: requests, and httpx with and without asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import requests

from latchkey.client import HttpxAuth, KeySource, RequestsAuth

Auth = RequestsAuth | HttpxAuth


class Sender(Protocol):
    """Makes the auth object of a library, and sends single requests with it."""

    def auth(self, source: KeySource | None = None, **options: Any) -> Auth:
        """The auth object; the options are those of its class."""

    def send(self, auth: Auth, method: str, url: str, content: Any = None) -> int:
        """Send a request, and follow redirects; returns the status of the last answer."""


class WithRequests:
    def auth(self, source: KeySource | None = None, **options: Any) -> Auth:
        return RequestsAuth(source, **options)

    def send(self, auth: Any, method: str, url: str, content: Any = None) -> int:
        with requests.Session() as session:
            session.trust_env = False
            session.auth = auth
            return session.request(method, url, data=content, timeout=60).status_code


class WithHttpx:
    def auth(self, source: KeySource | None = None, **options: Any) -> Auth:
        return HttpxAuth(source, **options)

    def send(self, auth: Any, method: str, url: str, content: Any = None) -> int:
        with httpx.Client(auth=auth, follow_redirects=True, trust_env=False) as client:
            return client.request(method, url, content=content, timeout=60).status_code


class WithAsyncHttpx:
    def auth(self, source: KeySource | None = None, **options: Any) -> Auth:
        return HttpxAuth(source, **options)

    def send(self, auth: Any, method: str, url: str, content: Any = None) -> int:
        async def sent() -> int:
            given = content if content is None or isinstance(content, bytes) else _later(content)
            async with httpx.AsyncClient(
                auth=auth, follow_redirects=True, trust_env=False
            ) as client:
                answer = await client.request(method, url, content=given, timeout=60)
                return answer.status_code

        return asyncio.run(sent())


SENDERS: list[Sender] = [WithRequests(), WithHttpx(), WithAsyncHttpx()]


async def _later(parts: Iterator[bytes]) -> Any:
    for part in parts:
        yield part


def write_key(path: Path, secret: str, key: str = "ak_live_of_the_test") -> Path:
    """Replace a private file of variables, as a tool for secrets does."""
    draft = path.with_name(f"{path.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text(f"API_KEY={key}\nAPI_SECRET={secret}\n")
    draft.replace(path)
    return path
