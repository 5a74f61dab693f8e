"""The database file that is in use, held on to: so that a fault of the file costs no data.

SQLite finds the write-ahead log by its name. Where the file was replaced and its log left behind,
SQLite would read and write the new file through it, serving what was deleted and spoiling what is
new. And the last connection to be closed moves the log into the file and deletes it, even while
that file is full of garbage that is about to be mended. So one connection stays open, and a file
that the log does not belong to is refused.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.errors import StoreError
from app.files import open_regular

_MAGIC = b"SQLite format 3\0"
_CHUNK = 1 << 20


class FileIdentity(NamedTuple):
    """Which file it is, whatever its name: the device and the inode."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class _Pin:
    """A file in use: ``anchor`` keeps its log alive, ``descriptor`` its content readable."""

    identity: FileIdentity
    log: FileIdentity | None
    anchor: sqlite3.Connection
    descriptor: int


class PinnedFile:
    """The database file of one store. Safe to use from many threads; not across a fork."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.path = path
        # Each lookup asks for it, and a Path is made a text in Python.
        self._name = os.fspath(path)
        self._log_path = path.with_name(f"{path.name}-wal")
        self._lock = threading.Lock()
        # The last is the file in use. The others are kept, with all their locks: closing any
        # descriptor of a file drops the process's locks on it, and its name may come back.
        self._pins: list[_Pin] = []

    def identify(self) -> FileIdentity:
        """The identity of the file at the path, which must be there and usable.

        An open file stays usable after its name or its permissions have gone: what the operator
        took away must not go on being served, so the name is what counts. Raises StoreError.
        """
        try:
            status = os.stat(self._name)
        except OSError as error:
            raise StoreError(f"cannot find the database file: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise StoreError("the database is not a regular file")
        if not os.access(self._name, os.R_OK | os.W_OK):
            raise StoreError("no permission to read and write the database file")
        if status.st_size == 0:
            # SQLite would take it for a new database, and delete the log.
            raise StoreError("the database file is empty")
        return FileIdentity(status.st_dev, status.st_ino)

    def pin(self, open_anchor: Callable[[], sqlite3.Connection], patience: float) -> FileIdentity:
        """Hold on to the file at the path, if it is not the one held already.

        ``patience`` bounds, in seconds, the wait for another thread that does. Raises StoreError
        after that, and for one that is no database, or that the log beside it does not belong
        to; nothing of SQLite's has touched it then.
        """
        if not self._lock.acquire(timeout=patience):
            raise StoreError("another thread is still opening the database")
        try:
            identity = self.identify()
            if self._pins and self._pins[-1].identity == identity:
                return identity
            self._pins.append(self._former_pin(identity) or self._new_pin(identity, open_anchor))
            return identity
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of the file; every other connection of the store is closed before."""
        with self._lock:
            for pin in self._pins:
                pin.anchor.close()
                os.close(pin.descriptor)
            self._pins.clear()

    def _former_pin(self, identity: FileIdentity) -> _Pin | None:
        """Take out the pin of a file that has come back as it was, with its log."""
        log = self._identify_log()
        for number, pin in enumerate(self._pins):
            if pin.identity == identity and pin.log == log:
                return self._pins.pop(number)
        return None

    def _new_pin(
        self, identity: FileIdentity, open_anchor: Callable[[], sqlite3.Connection]
    ) -> _Pin:
        with ExitStack() as undo:
            try:
                descriptor = open_regular(self.path)
                undo.callback(os.close, descriptor)
                if not _has_magic(descriptor):
                    raise StoreError("the database file is not a SQLite database")
                self._refuse_a_foreign_log(descriptor)
            except OSError as error:
                raise StoreError(f"cannot read the database file: {error.strerror}") from None
            anchor = open_anchor()
            undo.callback(anchor.close)
            # Reads, and so takes the lock and opens the log.
            anchor.execute("PRAGMA schema_version").fetchone()
            undo.pop_all()
        return _Pin(identity, self._identify_log(), anchor, descriptor)

    def _refuse_a_foreign_log(self, descriptor: int) -> None:
        log = self._identify_log()
        if log is None:
            return
        for pin in self._pins:
            if pin.log == log and not _same_content(pin.descriptor, descriptor):
                raise StoreError(
                    f"the database file was replaced, and {self._log_path.name} belongs to the "
                    "former one: remove it, and the -shm file beside it"
                )

    def _identify_log(self) -> FileIdentity | None:
        try:
            status = os.stat(self._log_path)
        except OSError:
            return None
        return FileIdentity(status.st_dev, status.st_ino)


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as a SQLite database does; for one that nobody has open here."""
    descriptor = open_regular(path)
    try:
        return _has_magic(descriptor)
    finally:
        os.close(descriptor)


def _has_magic(descriptor: int) -> bool:
    return os.pread(descriptor, len(_MAGIC), 0) == _MAGIC


def _same_content(one: int, other: int) -> bool:
    size = os.fstat(one).st_size
    if os.fstat(other).st_size != size:
        return False
    return all(
        os.pread(one, _CHUNK, offset) == os.pread(other, _CHUNK, offset)
        for offset in range(0, size, _CHUNK)
    )
