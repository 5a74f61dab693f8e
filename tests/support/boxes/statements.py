"""The SQL that a box sends over its connections, read by the proxy from PostgreSQL's protocol."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

_VERSION_3 = 196608
Peer = tuple[str, int]


@dataclass
class _Stream:
    """What one connection has sent: the bytes of an unfinished message, and what it prepared."""

    rest: bytes = b""
    is_started: bool = False
    prepared: dict[bytes, bytes] = field(default_factory=dict)


class Statements:
    """Calls ``found`` with the address of a connection that is about to run a certain statement.

    ``arm`` says which one; it is found once. ``see`` is for ``TcpProxy.see``: it is called before
    the bytes are passed on, so that the statement has not reached the database yet.
    """

    def __init__(self, found: Callable[[Peer], None]) -> None:
        self._found = found
        self._streams: dict[Peer, _Stream] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self._lock = threading.Lock()

    def arm(self, pattern: str) -> None:
        """Look for the next statement that a regular expression finds."""
        with self._lock:
            self._pattern = re.compile(pattern.encode())

    @property
    def is_armed(self) -> bool:
        """Whether the statement is still looked for."""
        return self._pattern is not None

    def see(self, peer: Peer, chunk: bytes) -> None:
        """Read what a connection sends."""
        for text in self._texts(self._streams.setdefault(peer, _Stream()), chunk):
            with self._lock:
                hit = self._pattern is not None and self._pattern.search(text)
                if hit:
                    self._pattern = None
            if hit:
                self._found(peer)

    def _texts(self, stream: _Stream, chunk: bytes) -> list[bytes]:
        """The texts of the statements that a chunk runs."""
        data = stream.rest + chunk
        if not stream.is_started and len(data) >= 8:
            size, version = struct.unpack_from(">ii", data)
            if len(data) >= size:
                # Before the start, a connection may ask for encryption, and repeat itself.
                stream.is_started = version == _VERSION_3
                data = data[size:]
        texts = []
        while stream.is_started and len(data) >= 5:
            (size,) = struct.unpack_from(">i", data, 1)
            if len(data) < size + 1:
                break
            kind, body, data = data[:1], data[5 : size + 1], data[size + 1 :]
            if kind == b"Q":
                texts.append(body)
            elif kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                stream.prepared[name] = text
            elif kind == b"B":
                _, name, _ = body.split(b"\0", 2)
                texts.append(stream.prepared.get(name, b""))
        stream.rest = data
        return texts
