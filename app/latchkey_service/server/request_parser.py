"""gunicorn's request parser, with additions that RFC 9110 and RFC 9112 require.

- It records the target of a request that it refuses.
- It sends ``100 Continue`` only if the body is read.
- Its ``Connection`` header matches what the server does.
- Only a limited number of threads wait for clients.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidHeader, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import split_request_uri

from latchkey.errors import ExpectationFailed
from latchkey_service.repeated_headers import note_repeated
from latchkey_service.verify.originals import AREA

PARSER_SETTINGS: Mapping[str, object] = {
    # Request headers must set only HTTP_ names in the environ. By default, gunicorn trusts all
    # clients of a unix socket.
    "forwarder_headers": "",
    "forwarded_allow_ips": "",
    "secure_scheme_headers": {},
    "header_map": "drop",
    "proxy_protocol": "off",
    "http_parser": "python",
}
"""The settings of gunicorn that its parser depends on."""

# The most that gunicorn reads of an unread body before the next request.
_LARGEST_DISCARDED = 64 * 1024
_LONGEST_METHOD = 20
# For bytes in transit: a request that is handed to a thread has arrived or will be refused.
_PAUSE_MS = 50
# For each chunk of a body, gunicorn copies all bytes that it has received and not yet used.
_PART = 4096
_GIVEN_ONCE = ("IDEMPOTENCY-KEY",)


class _Received(SocketUnreader):
    """The bytes that a client sends. A thread waits only for a body after ``100 Continue``.

    A client that sends nothing more is treated as one that has closed the connection.
    """

    def __init__(self, client: socket.socket, waits: threading.Semaphore) -> None:
        super().__init__(client)
        self.broke_off = False
        self._waits = waits
        self._may_wait = False
        self._arrived = b""
        self._used = 0

    def give(self, arrived: bytes) -> None:
        """Set the bytes of the request that were already received; they are read first."""
        self._arrived = arrived
        self._used = 0

    def take_buffered(self) -> bytes:
        """Return and clear the unread bytes, which belong to the next request."""
        left = self._arrived[self._used :]
        self.give(b"")
        return bytes(super().take_buffered()) + left

    def begin_to_wait(self) -> None:
        """Allow reads to wait for the rest of the request, until its deadline.

        Raises ExpectationFailed if too many threads already wait.
        """
        if not self._waits.acquire(blocking=False):
            raise ExpectationFailed
        self._may_wait = True

    def end_to_wait(self) -> None:
        """Undo ``begin_to_wait``; called at the end of each request."""
        if self._may_wait:
            self._may_wait = False
            self._waits.release()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Called by gunicorn when it needs more bytes."""
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
    """A body that the client sends only after ``100 Continue``, which the first read sends."""

    def __init__(self, reader: Any, received: _Received) -> None:
        self.reader = reader
        self.asked = False
        self._received = received

    def read(self, size: int) -> bytes:
        """Read from the body, like the reader that this replaces."""
        if not self.asked:
            self._received.begin_to_wait()
            self.asked = True
            self._received.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data: bytes = self.reader.read(size)
        return data


class ServedRequest(Request):
    """One request. ``path`` is set as soon as it was received, also if the request is refused."""

    body: Any
    unreader: Any
    uri: str
    version: Any
    _expected_100_continue: bool
    _is_last: bool | None = None

    def read_line(self, unreader: Any, buf: bytearray, limit: int = 0) -> tuple[bytes, bytearray]:
        """Called by gunicorn for the request line, which may be incomplete."""
        try:
            line: tuple[bytes, bytearray] = super().read_line(unreader, buf, limit)
        except ParseException:
            self._note_target(bytes(buf))
            raise
        return line

    def parse_request_line(self, line_bytes: bytes) -> None:
        """Called by gunicorn with the complete line."""
        self._note_target(line_bytes)
        super().parse_request_line(line_bytes)

    def set_body_reader(self) -> None:
        """Called by gunicorn when the headers are read."""
        super().set_body_reader()
        if not self.uri.startswith(AREA):
            names = [name for name, _ in self.headers]
            for name in _GIVEN_ONCE:
                # The application would get one value, joined by a comma, which is a valid
                # character.
                if names.count(name) > 1:
                    raise InvalidHeader(name)
        note_repeated(self.headers)
        if self._expected_100_continue:
            # gunicorn would send 100 Continue also for a request that is refused by its headers.
            self._expected_100_continue = False
            if not _is_at_end(self.body.reader):
                self.body.reader = _AskedFor(self.body.reader, self.unreader)

    def should_close(self) -> bool:
        """Whether to close the connection after this request; called when the response starts.

        True if the client requests it, or if too much of the body is unread.
        """
        if self._is_last is None:
            self._is_last = self._read_connection()
        # After an incomplete body, the start of the next request is unknown.
        broke_off: bool = self.unreader.broke_off
        return self._is_last or self.must_close or broke_off or not self._is_body_short()

    def _read_connection(self) -> bool:
        """Whether the client requests or expects the close (RFC 9112 section 9.3)."""
        keep_alive = self.version > (1, 0)
        for name, value in self.headers:
            if name == "CONNECTION":
                options = [option.strip(" \t") for option in value.lower().split(",")]
                if "close" in options:
                    return True
                keep_alive = keep_alive or "keep-alive" in options
        # The bytes after a CONNECT are never another request.
        return not keep_alive or self.method == "CONNECT"

    def _is_body_short(self) -> bool:
        """Whether the unread part of the body is known to be short and already in transit."""
        reader = self.body.reader
        if self.uri.startswith(AREA):
            # The body may never arrive: see arrival.py.
            return _is_at_end(reader)
        if isinstance(reader, _AskedFor):
            if not reader.asked:
                return False
            reader = reader.reader
        if isinstance(reader, LengthReader):
            return int(reader.length) < _LARGEST_DISCARDED
        return _is_at_end(reader)

    def _note_target(self, line: bytes) -> None:
        """Set the path from a line that may be incomplete or refused."""
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
        """Called by gunicorn after the response; returns whether another request can follow."""
        finished = bool(super().finish_body(deadline, max_bytes))
        return finished and not self.unreader.broke_off
