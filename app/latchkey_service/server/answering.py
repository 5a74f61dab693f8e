"""The time limits of a request: until its response starts, and while the client reads it.

A request must arrive and its response must start within one timeout. After that, the client must
read part of the response within each timeout. A long response is therefore not cut off, but the
connection of a client that stops reading is.
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
"""The number of bytes of a response that a client must read within each timeout."""

_PART = 64 * 1024


class Deadline:
    """The deadline of one request. The thread of the request reports the bytes that it sends."""

    __slots__ = ("_due", "_read", "_sent", "_timeout", "_timer")

    def __init__(self, timeout: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._timer = timer
        self._due = timer() + timeout
        self._sent = 0
        self._read = 0

    def note(self, sent: int) -> None:
        """Count bytes that were handed to the kernel."""
        if not self._sent:
            self._due = self._timer() + self._timeout
        self._sent += sent

    def has_passed(self, client: socket.socket) -> bool:
        """Whether to close the connection; called periodically by another thread."""
        now = self._timer()
        if now <= self._due:
            return False
        unread = _unread(client)
        read = self._sent - unread
        # If the client has read everything, it is not the cause of the delay.
        if not self._sent or (unread and read - self._read < LEAST):
            return True
        self._read = read
        self._due = now + self._timeout
        return False


class Answering(NamedTuple):
    """The parts of a connection that gunicorn needs to answer a request; counts sent bytes."""

    sock: Any
    client: Any
    server: Any

    @classmethod
    def of(cls, connection: Any, deadline: Deadline) -> Answering:
        """The parts of a connection, for one request."""
        sock = _CountingSocket(connection.sock, deadline)
        return cls(sock, connection.client, connection.server)


class _CountingSocket:
    """A socket that reports the bytes that it sends; other methods are those of the socket."""

    __slots__ = ("_deadline", "_socket")

    def __init__(self, client: socket.socket, deadline: Deadline) -> None:
        self._socket = client
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send the data in parts."""
        size = len(data)
        if size <= _PART:
            self._socket.sendall(data)
            self._deadline.note(size)
            return
        with memoryview(data) as view:
            for begin in range(0, size, _PART):
                self.sendall(view[begin : begin + _PART])  # type: ignore[arg-type]

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:
        """Send a file from ``offset`` on, in parts."""
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


def _unread(client: socket.socket) -> int:
    """The bytes in the send queue of the kernel, which the client has not yet received."""
    try:
        # For sockets, the same number is SIOCOUTQ: tcp(7), unix(7).
        answer = fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        # The connection is gone.
        return 0
    (waiting,) = struct.unpack("i", answer)
    return int(waiting)
