"""A client with several connections that stay open, in one thread."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from itertools import cycle

_LIMIT = 60.0
"""Seconds without any answer."""


class ClientFailed(RuntimeError):
    """A request was not answered with the expected status."""


class Client:
    """Connections to one port. ``requests`` are complete requests, which are sent in turn."""

    def __init__(self, port: int, requests: Sequence[bytes], users: int) -> None:
        self._requests = cycle(requests)
        self._selector = selectors.DefaultSelector()
        self._connections = [
            socket.create_connection(("127.0.0.1", port), timeout=_LIMIT) for _ in range(users)
        ]
        for connection in self._connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)

    def close(self) -> None:
        """Close all connections."""
        self._selector.close()
        for connection in self._connections:
            connection.close()

    def run(self, count: int) -> tuple[float, list[float]]:
        """Send this many requests; returns the seconds, and the latencies in microseconds.

        Raises ClientFailed for a status that is not 2xx, and if nothing is answered.
        """
        latencies: list[float] = []
        sent: dict[socket.socket, float] = {}
        begun = time.perf_counter()
        remaining = count
        for connection in self._connections[:count]:
            sent[connection] = self._send(connection)
            remaining -= 1
        while sent:
            ready = self._selector.select(_LIMIT)
            if not ready:
                raise ClientFailed("no answer")
            for key, _ in ready:
                answered = key.fileobj
                assert isinstance(answered, socket.socket)
                status = receive(answered)
                if not 200 <= status < 300:
                    raise ClientFailed(f"status {status}")
                latencies.append((time.perf_counter() - sent.pop(answered)) * 1e6)
                if remaining:
                    remaining -= 1
                    sent[answered] = self._send(answered)
        return time.perf_counter() - begun, latencies

    def _send(self, connection: socket.socket) -> float:
        began = time.perf_counter()
        connection.sendall(next(self._requests))
        return began


def receive(connection: socket.socket) -> int:
    """Read one answer, which has a length, or none and no body; returns its status."""
    return answer_on(connection)[0]


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    """The same; returns the status and the body."""
    received = connection.recv(65536)
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            raise ClientFailed(f"the connection was closed after {received!r}")
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ", 2)[1]), body
