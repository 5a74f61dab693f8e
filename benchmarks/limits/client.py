"""A client that sends requests of one key for a while, and counts what was admitted."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.verify.client import ClientFailed, receive

_LIMIT = 60.0
"""Seconds without any answer."""


class Counted(NamedTuple):
    """The answers of a while. ``elapsed`` is from the first request to the last answer."""

    admitted: int
    refused: int
    elapsed: float


def send_for(seconds: float, port: int, request: bytes, users: int) -> Counted:
    """Send a request on each of several connections, and again with each answer.

    Raises ClientFailed for a status other than 200 and 429, and if nothing is answered.
    """
    statuses = {200: 0, 429: 0}
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=_LIMIT))
            for _ in range(users)
        ]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)
        begun = time.monotonic()
        for connection in connections:
            connection.sendall(request)
        waiting = users
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
