"""A real HTTP server that answers as a test says, and records what it received."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """A request: its headers by lower-case name, and its body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def secret(self) -> str | None:
        """The secret that it carries, in either scheme."""
        bearer = self.headers.get("authorization")
        return self.headers.get("x-api-secret", bearer and bearer.removeprefix("Bearer "))


@dataclass(frozen=True)
class Reply:
    """An answer of the server."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Script = Callable[[Received], Reply]


class ScriptedServer:
    """A server on a port of its own; use it as a context. ``script`` may be replaced."""

    def __init__(self, script: Script = lambda received: Reply()) -> None:
        self.script = script
        self.received: list[Received] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = (
                    self._chunks()
                    if "Transfer-Encoding" in self.headers
                    else self.rfile.read(int(self.headers.get("Content-Length", 0)))
                )
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, body)
                outer.received.append(received)
                reply = outer.script(received)
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": "2"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"{}")

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *arguments: object) -> None:
                """Keep the output of the tests free of requests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def secrets(self) -> list[str | None]:
        """The secret of each request, in order."""
        return [one.secret for one in self.received]
