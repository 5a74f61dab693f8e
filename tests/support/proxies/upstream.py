"""An application behind a proxy, which records each request as it was received."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import socketserver
import threading
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedIOBase

_LIMITS = (
    'RateLimit: "application";r=8\r\nRateLimit-Policy: "application";q=8;w=8\r\n'
    "X-RateLimit-Limit: 8\r\nX-RateLimit-Remaining: 8\r\nX-RateLimit-Reset: 8\r\n"
)
_HANDSHAKE = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Received:
    """A request; ``target`` and the names of headers are as they were sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    length: int
    """The number of bytes of the body."""

    def values(self, name: str) -> list[str]:
        """The values of a header, by its name in any case."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The value of a header that was sent once; empty if it was not sent."""
        values = self.values(name)
        assert len(values) <= 1, values
        return values[0] if values else ""


class Upstream:
    """Answers each request with 200 and what it received, in JSON; use it as a context.

    ``/limits`` adds headers about limits. ``/stream`` sends one part, and the other when
    ``proceed`` is set. ``/refused`` answers 401 like an application with its own sign-in. After an
    upgrade to a WebSocket, it returns all bytes.
    """

    def __init__(self) -> None:
        self.proceed = threading.Event()
        self._received: list[Received] = []
        self._lock = threading.Lock()
        upstream = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    while upstream._serve(self.rfile, self.wfile, self.connection):
                        pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.proceed.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> list[Received]:
        """The requests since the last call."""
        with self._lock:
            taken, self._received = self._received, []
        return taken

    def _serve(
        self, rfile: BufferedIOBase, wfile: BufferedIOBase, connection: socket.socket
    ) -> bool:
        """Serve one request; whether another one may follow."""
        line = rfile.readline()
        if not line:
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = []
        while (line := rfile.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        length = sum(map(len, _body(rfile, headers)))
        received = Received(method, target, tuple(headers), length)
        with self._lock:
            self._received.append(received)
        if received.value("Upgrade").lower() == "websocket":
            wfile.write(_accepted(received))
            while data := connection.recv(65536):
                wfile.write(data)
            return False
        if target == "/stream":
            self._stream(wfile)
        elif target == "/refused":
            _answer(wfile, "401 Unauthorized", b"refused by the application", method)
        else:
            shown = {"method": method, "target": target, "length": length, "headers": headers}
            limits = _LIMITS if target == "/limits" else ""
            _answer(wfile, "200 OK", json.dumps(shown).encode(), method, limits)
        return received.value("Connection").lower() != "close"

    def _stream(self, wfile: BufferedIOBase) -> None:
        wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n"
        )
        self.proceed.wait(60)
        wfile.write(b"7\r\nsecond\n\r\n0\r\n\r\n")


def _body(rfile: BufferedIOBase, headers: list[tuple[str, str]]) -> list[bytes]:
    named = {name.lower(): value for name, value in headers}
    if named.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int(rfile.readline().split(b";")[0], 16):
            parts.append(rfile.read(size))
            rfile.readline()
        rfile.readline()
        return parts
    return [rfile.read(int(named.get("content-length", "0")))]


def _answer(
    wfile: BufferedIOBase, status: str, body: bytes, method: str, headers: str = ""
) -> None:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"X-Upstream: yes\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    wfile.write(head.encode() + (b"" if method == "HEAD" else body))


def _accepted(received: Received) -> bytes:
    key = received.value("Sec-WebSocket-Key").encode()
    accept = base64.b64encode(hashlib.sha1(key + _HANDSHAKE, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
