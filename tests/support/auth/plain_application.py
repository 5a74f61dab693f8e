"""A plain WSGI application, and requests to it that wsgiref.validate checks on both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from tests.support.auth.worker import api_key


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        return error


class PlainApplication:
    """A WSGI application that records its calls."""

    def __init__(self) -> None:
        self.environs: list[WSGIEnvironment] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        self.environs.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"hello"]

    @property
    def principals(self) -> list[Any]:
        return [environ["latchkey.principal"] for environ in self.environs]


def call(
    application: Any,
    path: str = "/",
    headers: dict[str, str] | None = None,
    method: str = "GET",
    peer: str = "192.0.2.7",
) -> Answer:
    """Make one request through the validator, as a server does."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "REMOTE_ADDR": peer,
    }
    setup_testing_defaults(environ)
    for name, value in (headers or {}).items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, response_headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        started.append((status, response_headers))
        return lambda data: None

    iterable = validator(application)(environ, start_response)
    body = b"".join(iterable)
    iterable.close()  # type: ignore[attr-defined]
    [(status, response_headers)] = started
    return Answer(int(status.split()[0]), dict(response_headers), body)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def pair(secret: str) -> dict[str, str]:
    return {"X-Api-Key": api_key(secret), "X-Api-Secret": secret}
