"""Tracking how much of a request has arrived: whether a thread could read it without waiting.

This module only decides when to call gunicorn's parser: immediately if the parser will refuse the
request, and otherwise when the head and a body of ordinary size have arrived.
"""

from __future__ import annotations

import re

from latchkey_service.verify.originals import AREA

MOST_BODY = 1 << 17
"""The number of bytes of a body to wait for. A thread reads the rest of a longer body."""
_MOST_CHUNK_LINE = 1024
_MOST_DIGITS = 18
# The limits of gunicorn: a request line, then 100 fields of 8,190 bytes with their line ends.
_MOST_LINE = 8190
_MOST_HEAD = 100 * (8190 + 2) + 4 + _MOST_LINE

_END = b"\r\n\r\n"
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
_EXPECTATION = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;[^\r\n]*)?")


class Arrival:
    """The bytes of one request as they arrive; ``data`` may also contain bytes that follow it."""

    __slots__ = ("_at", "_chunked", "_is_line_read", "_needed", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._is_line_read = False
        # The length of the request, once it is known, and the position of its next chunk.
        self._needed = 0
        self._chunked = False
        self._at = 0

    def add(self, received: bytes) -> bool:
        """Add received bytes; returns whether the request is ready for the parser."""
        before = len(self.data)
        self.data += received
        if self._chunked:
            return self._has_last_chunk(before)
        if not self._needed:
            end = self.data.find(_END, max(0, before - len(_END) + 1))
            if end < 0:
                return self._is_refused(before)
            return self._read_head(end)
        return len(self.data) >= self._needed

    def _is_refused(self, before: int) -> bool:
        """Whether the parser refuses the incomplete head, so that its end need not be awaited."""
        if len(self.data) > _MOST_HEAD or _BARE_LINE_FEED.search(self.data, before):
            return True
        if not self._is_line_read:
            # One empty line may precede the request line.
            start = 2 if self.data.startswith(b"\r\n") else 0
            end = self.data.find(b"\r\n", start)
            if end < 0:
                return len(self.data) - start > _MOST_LINE
            self._is_line_read = True
            parts = self.data[start:end].split(b" ")
            return len(parts) != 3 or not (all(parts) and parts[2].startswith(b"HTTP/1."))
        return False

    def _read_head(self, end: int) -> bool:
        """Whether the request is ready once its head has arrived; the head ends at ``end``."""
        head = bytes(self.data[: end + 2])
        if _is_bodiless(head):
            return True
        lengths = _LENGTH.findall(head)
        codings = _CODING.findall(head)
        if bool(lengths) == bool(codings) or len(lengths) > 1 or _EXPECTATION.search(head):
            # No body, contradictory headers, or a body that the client sends only on request.
            return True
        if lengths:
            digits = lengths[0].lstrip(b"0") or b"0"
            length = int(digits[:_MOST_DIGITS])
            self._needed = end + len(_END) + length
            return length > MOST_BODY or len(self.data) >= self._needed
        # Codings are applied in the listed order; only the last one delimits the body.
        if b",".join(codings).rpartition(b",")[2].strip(b" \t").lower() != b"chunked":
            return True
        self._chunked = True
        self._at = end + len(_END)
        self._needed = self._at + MOST_BODY
        return self._has_last_chunk(self._at)

    def _has_last_chunk(self, before: int) -> bool:
        """Whether the last chunk and its trailers have arrived, or the parser will refuse the body.

        ``before`` is the position of the new bytes.
        """
        while self._at < self._needed:
            end = self.data.find(b"\r\n", self._at, self._at + _MOST_CHUNK_LINE)
            if end < 0:
                return len(self.data) - self._at >= _MOST_CHUNK_LINE
            line = _CHUNK.fullmatch(self.data, self._at, end)
            if line is None:
                return True
            size = int(line[1], 16)
            if size == 0:
                start = max(end, before - len(_END) + 1)
                return self.data.find(_END, start) >= 0 or len(self.data) > self._needed
            following = end + 2 + size + 2
            if following > len(self.data):
                return len(self.data) > self._needed
            self._at = following
        return True


def _is_bodiless(head: bytes) -> bool:
    """Whether the body of a request is never read.

    A proxy may announce the body of its client's request, and not send it.
    """
    line = head.removeprefix(b"\r\n").partition(b"\r\n")[0]
    return line.partition(b" ")[2].startswith(AREA.encode())
