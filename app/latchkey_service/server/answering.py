"""How long a request may hold a thread: until its answer begins, and while the answer is taken.

A request has one timeout to be read and to have its answer begun. From then on the client has to
take some of what is sent within each timeout. So a long answer is not cut off, and a client that
stops reading is.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

LEAST = 4096
"""The bytes of an answer that a client has to take within each timeout."""

_PART = 64 * 1024


class Deadline:
    """The deadline of one request. The thread of the request notes what it sends."""

    __slots__ = ("_due", "_sent", "_taken", "_timeout", "_timer")

    def __init__(self, timeout: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._timer = timer
        self._due = timer() + timeout
        self._sent = 0
        self._taken = 0

    def note(self, sent: int) -> None:
        """Count bytes that were handed to the kernel."""
        if not self._sent:
            self._due = self._timer() + self._timeout
        self._sent += sent

    def has_passed(self, client: socket.socket) -> bool:
        """Whether the request is to be cut off; called by another thread, from time to time."""
        now = self._timer()
        if now <= self._due:
            return False
        untaken = _untaken(client)
        taken = self._sent - untaken
        # Where nothing is left to take, it is not the client that the answer waits for.
        if not self._sent or (untaken and taken - self._taken < LEAST):
            return True
        self._taken = taken
        self._due = now + self._timeout
        return False


class Answering(NamedTuple):
    """A connection as gunicorn needs it to answer a request; what is sent is noted."""

    sock: Any
    client: Any
    server: Any

    @classmethod
    def of(cls, connection: Any, deadline: Deadline) -> Answering:
        """That of a connection, for one request."""
        sock = _NotedSocket(connection.sock, deadline)
        return cls(sock, connection.client, connection.server)


class _NotedSocket:
    """A socket whose sending notes how far it got; all else is the socket's own."""

    __slots__ = ("_deadline", "_socket")

    def __init__(self, client: socket.socket, deadline: Deadline) -> None:
        self._socket = client
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all of it, part by part."""
        size = len(data)
        if size <= _PART:
            self._socket.sendall(data)
            self._deadline.note(size)
            return
        with memoryview(data) as view:
            for begin in range(0, size, _PART):
                self.sendall(view[begin : begin + _PART])  # type: ignore[arg-type]

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:
        """Send a file from ``offset`` on, part by part."""
        begin = offset
        while count is None or offset - begin < count:
            left = _PART if count is None else min(_PART, count - (offset - begin))
            sent = self._socket.sendfile(file, offset, left)
            if not sent:
                break
            self._deadline.note(sent)
            offset += sent
        return offset - begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def _untaken(client: socket.socket) -> int:
    """The bytes that the kernel still holds for a client."""
    try:
        # The same number is SIOCOUTQ for sockets: tcp(7), unix(7).
        answer = fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        # The connection is gone.
        return 0
    (waiting,) = struct.unpack("i", answer)
    return int(waiting)
