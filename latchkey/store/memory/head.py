"""The head of an audit log in memory, in place of its file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latchkey.credentials.audit import NO_ROWS, AuditKey, Head
from latchkey.store.audit_head import COMMAND_PATIENCE, HeadFile


class MemoryHead(HeadFile):
    """The head of a log that exists only while this process does; no file is opened."""

    def __init__(self, key: AuditKey) -> None:
        super().__init__(Path("in memory"), key)
        self._turn = threading.Lock()
        self._head = NO_ROWS

    def make(self) -> None:
        """There is a head from the beginning."""

    def _read(self) -> tuple[Head, str]:
        return self._head, self._key.seal(self._head)

    @contextmanager
    def _lock(self, patience: float = COMMAND_PATIENCE) -> Iterator[None]:
        with self._turn:
            yield

    def _write(self, head: Head) -> None:
        self._head = head
