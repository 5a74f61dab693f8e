"""A client of HTTP/2 that sends header fields as they are given, also invalid ones.

It decodes no header fields of responses except the status.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPMessage

from tests.support.proxies.programs import HOST
from tests.support.proxies.site import Answer, Headers, Site

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_HEADER_TABLE_SIZE, _ENABLE_PUSH = 1, 2
# The statuses of HPACK's static table, by their index.
_STATUSES = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
# HPACK's Huffman code of digits, as bits.
_DIGITS = {f"{digit:05b}": str(digit) for digit in range(3)} | {
    f"{0x19 - 3 + digit:06b}": str(digit) for digit in range(3, 10)
}


@dataclass(frozen=True)
class _Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


def fields(
    method: str = "GET",
    target: str = "/",
    more: Headers = (),
    *,
    authority: str | None = HOST,
    scheme: str = "https",
) -> list[tuple[str, str]]:
    """The header fields of a request; without ``:authority`` for None."""
    named = [] if authority is None else [(":authority", authority)]
    pseudo = [(":method", method), (":scheme", scheme), *named, (":path", target)]
    return [*pseudo, *((name.lower(), value) for name, value in more)]


class Http2Connection:
    """One connection, for one request after the other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        context = site.client_context()
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", site.places.port), timeout=60)
        self._connection: ssl.SSLSocket = context.wrap_socket(plain, server_hostname=HOST)
        assert self._connection.selected_alpn_protocol() == "h2"
        # Without a dynamic table, each response is decoded by itself.
        settings = struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _ENABLE_PUSH, 0)
        self._connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
        self._stream = -1

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(self, given: Headers, body: bytes | None = None) -> Answer:
        """Send these header fields; the status is 0 if the stream or the connection was ended."""
        self._site.upstream.take()
        self._stream += 2
        end = _END_STREAM if body is None else 0
        sent = _frame(_HEADERS, _END_HEADERS | end, self._stream, _encoded(given))
        if body is not None:
            sent += _frame(_DATA, _END_STREAM, self._stream, body)
        try:
            self._connection.sendall(sent)
            status, received = self._answer()
        except OSError:
            status, received = 0, b""
        return Answer(status, _no_headers(), received, tuple(self._site.upstream.take()))

    def _answer(self) -> tuple[int, bytes]:
        status, block, body = 0, b"", b""
        for frame in self._frames():
            if frame.kind == _SETTINGS and not frame.flags & _ACK:
                self._connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif frame.kind == _PING and not frame.flags & _ACK:
                self._connection.sendall(_frame(_PING, _ACK, 0, frame.payload))
            elif frame.kind == _GOAWAY and struct.unpack(">I", frame.payload[4:8])[0]:
                return 0, b""
            if frame.stream != self._stream:
                continue
            if frame.kind == _RESET:
                # After a complete response, it only says that the body is not read.
                return status, body
            if frame.kind in (_HEADERS, _CONTINUATION):
                block += _content(frame)
                if frame.flags & _END_HEADERS:
                    status = status or _status_of(block)
            elif frame.kind == _DATA:
                body += _content(frame)
            if frame.kind in (_HEADERS, _DATA) and frame.flags & _END_STREAM:
                return status, body
        return 0, b""

    def _frames(self) -> Iterator[_Frame]:
        """All frames until the end of the connection."""
        while True:
            head = self._read(9)
            if len(head) < 9:
                return
            length = int.from_bytes(head[:3], "big")
            stream = int.from_bytes(head[5:], "big")
            yield _Frame(head[3], head[4], stream, self._read(length))

    def _read(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            part = self._connection.recv(count - len(received))
            if not part:
                break
            received += part
        return received


def request(site: Site, given: Headers, body: bytes | None = None) -> Answer:
    """Send one request on a new connection."""
    with closing(Http2Connection(site)) as connection:
        return connection.request(given, body)


def _no_headers() -> HTTPMessage:
    found: Message = HTTPMessage()
    assert isinstance(found, HTTPMessage)
    return found


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _content(frame: _Frame) -> bytes:
    """The payload without padding and priority."""
    payload = frame.payload
    if frame.kind == _CONTINUATION:
        return payload
    if frame.flags & _PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if frame.kind == _HEADERS and frame.flags & _PRIORITY else payload


def _encoded(given: Headers) -> bytes:
    """Header fields in HPACK: each a literal without indexing, with a new name."""
    return b"".join(
        b"\x00" + _string(name.encode("latin-1")) + _string(value.encode("latin-1"))
        for name, value in given
    )


def _string(text: bytes) -> bytes:
    if len(text) < 0x7F:
        return bytes([len(text)]) + text
    left, size = len(text) - 0x7F, b"\x7f"
    while left >= 0x80:
        size += bytes([left & 0x7F | 0x80])
        left >>= 7
    return size + bytes([left]) + text


def _status_of(block: bytes) -> int:
    """The status, which is the first field of a response."""
    while block[0] & 0xE0 == 0x20:
        # A new size of the dynamic table, which is small enough for one byte.
        block = block[1:]
    if block[0] & 0x80:
        return _STATUSES[block[0] & 0x7F]
    # A literal whose name has the index of :status, with one of the four kinds of indexing.
    index = block[0] & (0x3F if block[0] & 0x40 else 0x0F)
    assert index in _STATUSES, block[:8]
    length, text = block[1] & 0x7F, block[2 : 2 + (block[1] & 0x7F)]
    assert len(text) == length
    if not block[1] & 0x80:
        return int(text)
    bits = "".join(f"{byte:08b}" for byte in text)
    found = ""
    while len(found) < 3:
        for size in (5, 6):
            if bits[:size] in _DIGITS:
                found, bits = found + _DIGITS[bits[:size]], bits[size:]
                break
        else:
            raise AssertionError(text)
    return int(found)
