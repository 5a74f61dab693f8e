"""A client that sends requests of one key for a while, and counts what was admitted."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.limits.plan import WORKER
from benchmarks.verify.client import ClientFailed, answer_on, receive

_LIMIT = 60.0
"""Seconds without any answer."""


class Counted(NamedTuple):
    """The answers of a while. ``elapsed`` is from the first request to the last answer."""

    admitted: int
    refused: int
    elapsed: float


def send_for(seconds: float, port: int, request: bytes, users: int, workers: int) -> Counted:
    """Send a request on each of several connections, and again with each answer.

    Each worker has the same number of connections. Raises ClientFailed for a status other than 200
    and 429, and if nothing is answered.
    """
    statuses = {200: 0, 429: 0}
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = [
            stack.enter_context(connection) for connection in _spread(port, users, workers)
        ]
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        begun = time.monotonic()
        for connection in connections:
            connection.sendall(request)
        waiting = len(connections)
        while waiting:
            ready = selector.select(_LIMIT)
            if not ready:
                raise ClientFailed("no answer")
            for key, _ in ready:
                answered = key.fileobj
                assert isinstance(answered, socket.socket)
                status = receive(answered)
                if status not in statuses:
                    raise ClientFailed(f"status {status}")
                statuses[status] += 1
                if time.monotonic() - begun < seconds:
                    answered.sendall(request)
                else:
                    waiting -= 1
        return Counted(statuses[200], statuses[429], time.monotonic() - begun)


def _spread(port: int, users: int, workers: int) -> list[socket.socket]:
    """Open connections, the same number to each worker."""
    found: dict[bytes, list[socket.socket]] = {}
    others: list[socket.socket] = []
    until = time.monotonic() + _LIMIT
    try:
        while len(found) < workers or any(len(each) < users // workers for each in found.values()):
            if time.monotonic() > until:
                raise ClientFailed("some workers accept no connection")
            connection = socket.create_connection(("127.0.0.1", port), timeout=_LIMIT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(f"GET {WORKER} HTTP/1.1\r\nHost: latchkey\r\n\r\n".encode())
            _, worker = answer_on(connection)
            of_worker = found.setdefault(worker, [])
            (of_worker if len(of_worker) < users // workers else others).append(connection)
    finally:
        for connection in others:
            connection.close()
    return [connection for each in found.values() for connection in each]
