"""gunicorn's parser of requests, where RFC 9110 and 9112 ask for more than it does.

It remembers the target of a request that it refuses, asks for a body only where somebody reads it
(``Expect: 100-continue``), says truly whether the connection is used again, and waits for the
client only in a bounded number of threads.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Any

from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import split_request_uri

from latchkey.errors import ExpectationFailed

# What gunicorn reads at most of a body that nobody read, before the next request.
_LARGEST_DISCARDED = 64 * 1024
_LONGEST_METHOD = 20
# For what is on its way already; a request that a thread gets has arrived, or is refused.
_PAUSE_MS = 50
# gunicorn copies all that it has got and not used for each chunk of a body.
_PART = 4096


class _Received(SocketUnreader):
    """What a client sends. A thread takes what is there, and waits only for a body it asked for.

    A client that sends nothing more is taken for one that ended.
    """

    def __init__(self, client: socket.socket, waits: threading.Semaphore) -> None:
        super().__init__(client)
        self.broke_off = False
        self._waits = waits
        self._may_wait = False
        self._arrived = b""
        self._used = 0

    def give(self, arrived: bytes) -> None:
        """Have the bytes of a request that were received already be read first."""
        self._arrived = arrived
        self._used = 0

    def take_buffered(self) -> bytes:
        """Take what was not read; it is of the next request."""
        left = self._arrived[self._used :]
        self.give(b"")
        return bytes(super().take_buffered()) + left

    def begin_to_wait(self) -> None:
        """Have the rest of the request waited for, until its deadline.

        Raises ExpectationFailed where enough threads wait already.
        """
        if not self._waits.acquire(blocking=False):
            raise ExpectationFailed
        self._may_wait = True

    def end_to_wait(self) -> None:
        """At the end of each request."""
        if self._may_wait:
            self._may_wait = False
            self._waits.release()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Called by gunicorn where it has used up what it was given."""
        if self._used < len(self._arrived):
            end = self._used + max(size_hint or 0, _PART)
            part = self._arrived[self._used : end]
            self._used += len(part)
            return part
        data: bytes = b""
        if self._may_wait or self._has_come():
            data = super().chunk(size_hint)  # type: ignore[call-arg]
        if not data:
            self.broke_off = True
        return data

    def _has_come(self) -> bool:
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return bool(poller.poll(_PAUSE_MS))


class _AskedFor:
    """A body that the client holds back until it is asked for, which the first read does."""

    def __init__(self, reader: Any, received: _Received) -> None:
        self.reader = reader
        self.asked = False
        self._received = received

    def read(self, size: int) -> bytes:
        """As the reader of the body."""
        if not self.asked:
            self._received.begin_to_wait()
            self.asked = True
            self._received.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data: bytes = self.reader.read(size)
        return data


class ServedRequest(Request):
    """One request. ``path`` is known from the moment it was received, whatever is wrong with it."""

    body: Any
    unreader: Any
    version: Any
    _expected_100_continue: bool
    _is_last: bool | None = None

    def read_line(self, unreader: Any, buf: bytearray, limit: int = 0) -> tuple[bytes, bytearray]:
        """Called by gunicorn for the request line, as far as it was received."""
        try:
            line: tuple[bytes, bytearray] = super().read_line(unreader, buf, limit)
        except ParseException:
            self._note_target(bytes(buf))
            raise
        return line

    def parse_request_line(self, line_bytes: bytes) -> None:
        """Called by gunicorn with the whole line."""
        self._note_target(line_bytes)
        super().parse_request_line(line_bytes)

    def set_body_reader(self) -> None:
        """Called by gunicorn when the headers are read."""
        super().set_body_reader()
        if self._expected_100_continue:
            # gunicorn would ask for every body, also for one that is refused by its headers.
            self._expected_100_continue = False
            if not _is_at_end(self.body.reader):
                self.body.reader = _AskedFor(self.body.reader, self.unreader)

    def should_close(self) -> bool:
        """Whether this is the last request of the connection; asked when the answer begins.

        It is, where the client says so, and where more of the body is left than is worth reading.
        """
        if self._is_last is None:
            self._is_last = self._read_connection()
        # Behind a body that broke off, the next request would begin anywhere.
        broke_off: bool = self.unreader.broke_off
        return self._is_last or self.must_close or broke_off or not self._is_body_short()

    def _read_connection(self) -> bool:
        """Whether the client wants the connection closed, or expects it (RFC 9112 section 9.3)."""
        keep_alive = self.version > (1, 0)
        for name, value in self.headers:
            if name == "CONNECTION":
                options = [option.strip(" \t") for option in value.lower().split(",")]
                if "close" in options:
                    return True
                keep_alive = keep_alive or "keep-alive" in options
        # What follows a CONNECT is never another request.
        return not keep_alive or self.method == "CONNECT"

    def _is_body_short(self) -> bool:
        """Whether what is left of the body is known to be short, and already on its way."""
        reader = self.body.reader
        if isinstance(reader, _AskedFor):
            if not reader.asked:
                return False
            reader = reader.reader
        if isinstance(reader, LengthReader):
            return int(reader.length) < _LARGEST_DISCARDED
        return _is_at_end(reader)

    def _note_target(self, line: bytes) -> None:
        """Take the path from a line that may be cut off, or refused."""
        method, _, rest = line.partition(b" ")
        target = rest.partition(b" ")[0].partition(b"\r")[0].decode("latin-1")
        if method.isalpha() and len(method) <= _LONGEST_METHOD:
            self.method = method.decode("ascii")
        with suppress(ValueError):
            self.path = split_request_uri(target).path


def _is_at_end(reader: Any) -> bool:
    if isinstance(reader, LengthReader):
        return not reader.length
    return isinstance(reader, ChunkedReader) and reader.parser is None


class ServedRequests(RequestParser):
    """The requests of one connection; ``waits`` limits the threads that wait for a body."""

    mesg_class = ServedRequest
    unreader: _Received

    def __init__(
        self, cfg: Config, client: socket.socket, address: Any, waits: threading.Semaphore
    ) -> None:
        super().__init__(cfg, client, address)
        self.unreader = _Received(client, waits)

    def finish_body(  # type: ignore[override]
        self, deadline: float | None = None, max_bytes: int | None = None
    ) -> bool:
        """Called by gunicorn after the answer; whether the next request can follow."""
        finished = bool(super().finish_body(deadline, max_bytes))
        return finished and not self.unreader.broke_off
