"""A small HTTP client on kept connections, which notes when a request began and ended."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, NamedTuple

from tests.support.boxes.places import Place
from tests.support.service import Pair

NO_ANSWER = 0
"""The status of a request that was not answered; it may have been carried out."""
NOT_SENT = -1
"""The status of a request for which no connection could be made."""


class Asked(NamedTuple):
    """One request: its times by CLOCK_MONOTONIC in seconds, and what was answered.

    The time of the beginning is from before the first byte is sent, and the other one from after
    the last byte was received.
    """

    began: float
    ended: float
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, pair: Pair, body: object = None, **headers: str) -> bytes:
    """The bytes of a request with the bearer scheme."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {pair.api_secret}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
    return "\r\n".join([*lines, "", ""]).encode() + payload


class Client:
    """Sends one request after the other to the service of a place.

    The connection is kept, so the same worker answers while it lives. ``timeout`` is in seconds.
    """

    def __init__(self, place: Place, timeout: float = 60.0) -> None:
        self._place = place
        self._timeout = timeout
        self._connection: socket.socket | None = None

    def ask(self, data: bytes) -> Asked:
        """Send a request once, on a new connection if the service has closed the kept one."""
        began = time.monotonic()
        try:
            connection = self._opened()
        except OSError:
            return Asked(began, time.monotonic(), NOT_SENT, b"")
        # The connection was checked just now: what happens from here on is the request's.
        try:
            connection.sendall(data)
            status, body, kept = _read(connection)
        except OSError:
            self.close()
            return Asked(began, time.monotonic(), NO_ANSWER, b"")
        ended = time.monotonic()
        if not kept:
            self.close()
        return Asked(began, ended, status, body)

    def connected(self) -> int:
        """Connect, and return the port of this end; raises OSError."""
        return int(self._opened().getsockname()[1])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> socket.socket:
        if self._connection is not None and _is_over(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._place.connect(self._timeout)
        return self._connection


def _is_over(connection: socket.socket) -> bool:
    """Whether the other end has closed the connection: between requests, nothing is sent."""
    timeout = connection.gettimeout()
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)
    return True


def _read(connection: socket.socket) -> tuple[int, bytes, bool]:
    """The status and the body of an answer, and whether the connection stays open."""
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += _some(connection)
    head = received[:end].lower()
    _, _, rest = head.partition(b"\r\ncontent-length: ")
    size = int(rest.split(b"\r\n", 1)[0])
    body = received[end + 4 :]
    while len(body) < size:
        body += _some(connection)
    return int(head[9:12]), body, b"\r\nconnection: close" not in head


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("closed before the end of the answer")
    return chunk
