"""The database file in use, kept open so that a fault of the file loses no data.

SQLite finds the write-ahead log by its name. If the file is replaced and its log is left behind,
SQLite would read and write the new file through that log, return deleted rows and corrupt new ones.
When the last connection is closed, it copies the log into the file and deletes it, even if the file
is damaged. So one connection stays open, and a file to which the log does not belong is refused.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from latchkey.errors import StoreError
from latchkey.files.shared_places import open_beside, open_regular
from latchkey.forks import NOT_OURS
from latchkey.store.sqlite import log_copy, wal
from latchkey.store.sqlite.held_files import acquire, release
from latchkey.store.sqlite.opening import rows_of

log = logging.getLogger("latchkey")

_MAGIC = b"SQLite format 3\0"
_CHUNK = 1 << 20
_COPY_PATIENCE = 1.0
_PAUSE = 0.01


class FileIdentity(NamedTuple):
    """The identity of a file, independent of its name: the device and the inode."""

    device: int
    inode: int


class Files(NamedTuple):
    """The files of a database in use; None for a missing one."""

    database: FileIdentity
    log: FileIdentity | None
    log_index: FileIdentity | None


@dataclass(frozen=True, slots=True)
class _Pin:
    """A file in use: ``anchor`` keeps its log, the descriptors keep the content readable.

    ``reader`` prevents a restart of the log while it is copied. ``log`` and ``index`` are
    None for a database that is not in WAL mode.
    """

    files: Files
    anchor: sqlite3.Connection
    reader: sqlite3.Connection
    descriptor: int
    log: int | None
    index: int | None


class PinnedFile:
    """The database file of one store. Safe to use from many threads; not across a fork."""

    def __init__(self, path: Path) -> None:
        """No file is opened yet."""
        self.path = path
        # Kept as text: each lookup needs it, and converting a Path takes Python code.
        self._name = os.fspath(path)
        self._locate()
        self._lock = threading.Lock()
        # The last one is the file in use. The others stay open to keep their locks: closing any
        # descriptor of a file drops the process's locks on it, and its name may come back.
        self._pins: list[_Pin] = []
        self.is_inherited = False

    def _locate(self) -> None:
        """Find where SQLite keeps the other files: beside the target of links."""
        name = os.path.realpath(self._name)
        self._log_name = f"{name}-wal"
        self._index_name = f"{name}-shm"

    def disown(self) -> bool:
        """In a child after a fork, refuse all use if the file is in use; returns whether it is."""
        self.is_inherited = self.is_inherited or bool(self._pins)
        return self.is_inherited

    def require_own(self) -> None:
        """Raise StoreError in a child of the process that opened the file."""
        if self.is_inherited:
            raise StoreError(NOT_OURS)

    def identify(self) -> Files:
        """The identities of the files at the path; the database must exist and be usable.

        An open file stays usable after its name or its permissions are removed. A file that the
        operator removed must not be served, so the path decides. Raises StoreError.
        """
        self.require_own()
        try:
            status = os.stat(self._name)
        except OSError as error:
            raise StoreError(f"cannot find the database file: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise StoreError("the database is not a regular file")
        if not os.access(self._name, os.R_OK | os.W_OK):
            raise StoreError("no permission to read and write the database file")
        if status.st_size == 0:
            # SQLite would treat it as a new database, and delete the log.
            raise StoreError("the database file is empty")
        identity = FileIdentity(status.st_dev, status.st_ino)
        return Files(identity, _identity(self._log_name), _identity(self._index_name))

    def pin(self, open_anchor: Callable[[], sqlite3.Connection], patience: float) -> Files:
        """Pin the files at the path, unless they are pinned already.

        If only the log was removed, its content is saved first. ``patience``, in seconds, limits
        the wait for another thread that does this; then StoreError is raised. StoreError is also
        raised for a file that is not a database, for one to which the log beside it does not belong
        (before SQLite opens either), and if the log or its index cannot be replaced safely.
        """
        if not self._lock.acquire(timeout=patience):
            raise StoreError("another thread is still opening the database")
        try:
            self._locate()
            files = self.identify()
            current = self._current
            if current is not None and current.files == files:
                return files
            if current is not None and current.files.database == files.database:
                if current.log is not None:
                    self._save_log(current, files, patience)
                    self._pins[-1] = self._renewed(current, open_anchor)
                    return self._pins[-1].files
            self._pins.append(self._former_pin(files) or self._new_pin(files, open_anchor))
            return self._pins[-1].files
        finally:
            self._lock.release()

    def require(self, files: Files) -> None:
        """Raise StoreError unless these files are still in place, and the log is complete.

        Call it within a write transaction: the log does not change meanwhile.
        """
        if self.identify() != files:
            raise StoreError("a file of the database was replaced before the transaction began")
        pin = self._current
        if pin is not None and pin.files == files and not _is_whole(pin):
            raise StoreError(f"{self._log_name} was cut")

    def mend(self) -> None:
        """Make SQLite read a truncated log again; the removed part is lost.

        Otherwise SQLite would trust the index, which lists more than the log has. Raises
        StoreError.
        """
        with self._lock:
            pin = self._in_place()
            if pin is None or pin.index is None or _is_whole(pin):
                return
            said = wal.read_index(pin.index)
            wal.reset(pin.index)
        lost = said is not None and said.needs_log
        log.error(
            "%s was truncated while in use: %s",
            self._log_name,
            "the changes in it are lost; compare with: latchkey audit verify"
            if lost
            else "nothing is lost: the database already contained all of it",
        )

    def copy_log(self) -> bool:
        """Copy the log into the database, so that truncating the log later loses nothing.

        Returns False if changes are left in the log alone, because another connection copies it or
        reads an older state. After a failure, SQLite has the log, and the next use reports it.
        """
        if not self._lock.acquire(timeout=_COPY_PATIENCE):
            return True
        try:
            pin = self._in_place()
            if pin is None or pin.index is None:
                return True
            index = wal.read_index(pin.index)
            if index is None:
                return False
            # The frames of a broken log would be copied unnoticed.
            if not index.needs_log or not _is_whole(pin):
                return True
            return log_copy.copy(pin.anchor, pin.reader)
        except StoreError:
            return True
        finally:
            self._lock.release()

    @property
    def _current(self) -> _Pin | None:
        """The pin of the file in use."""
        return self._pins[-1] if self._pins else None

    def _in_place(self) -> _Pin | None:
        """The pin of the file in use, if its files are still in place."""
        pin = self._current
        return None if pin is None or self.identify() != pin.files else pin

    def close(self) -> None:
        """Release the file; every other connection of the store must be closed before."""
        with self._lock:
            for pin in self._pins:
                pin.reader.close()
                pin.anchor.close()
                if pin.log is not None:
                    os.close(pin.log)
                for descriptor in (pin.descriptor, pin.index):
                    if descriptor is not None:
                        release(descriptor)
            self._pins.clear()

    def _save_log(self, pin: _Pin, files: Files, patience: float) -> None:
        """Copy a log that is no longer in its place into the database.

        The anchor still has that log open, and shares the index with every other connection, so its
        checkpoint excludes all of them. It leaves the log empty: a connection that still has the
        old log finds nothing in it, and the next writer begins a new one.
        """
        assert pin.log is not None  # noqa: S101
        assert pin.index is not None  # noqa: S101
        # If another index is in its place, connections that use it would not be excluded.
        if files.log_index in (None, pin.files.log_index):
            until = time.monotonic() + patience
            while (index := wal.read_index(pin.index)) is not None:
                if not index.last_frame or not wal.holds(pin.log, index) or self._checkpoint(pin):
                    break
                # Usually another process is saving the same log, and SQLite does not wait for that.
                if time.monotonic() > until:
                    raise StoreError(f"{self._log_name} was replaced in use and cannot be saved")
                time.sleep(_PAUSE)
        if files.log_index != pin.files.log_index:
            raise StoreError(
                f"{self._index_name} was removed or replaced while in use, so processes cannot "
                "exclude each other: stop all processes that use the database, then start again"
            )
        index = wal.read_index(pin.index)
        if index is None or index.last_frame == 0:
            return
        # Another process has saved the log, and a change has begun the new one.
        if not self._log_in_place_holds(index):
            raise StoreError(
                f"{self._log_name} was replaced in use, and the previous one cannot be saved: "
                "stop all processes that use the database, and compare it with a backup"
            )

    def _checkpoint(self, pin: _Pin) -> bool:
        """Copy the log into the database, and empty it; False if another connection prevents it."""
        try:
            (found,) = rows_of(pin.anchor, "PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StoreError(f"{self._log_name} is not in its place: {error}") from None
        if found["busy"]:
            return False
        log.error(
            "%s was removed or replaced while in use: its content was saved to the database",
            self._log_name,
        )
        return True

    def _log_in_place_holds(self, index: wal.Index) -> bool:
        try:
            descriptor = open_beside(Path(self._log_name))
        except OSError:
            return False
        try:
            return wal.holds(descriptor, index)
        finally:
            os.close(descriptor)

    def _renewed(self, pin: _Pin, open_anchor: Callable[[], sqlite3.Connection]) -> _Pin:
        """A pin of the same file with the log now in its place, which may be a foreign one.

        SQLite must not use the content of a foreign log after a crash, so it is emptied before it
        is used.
        """
        assert pin.log is not None  # noqa: S101
        assert pin.index is not None  # noqa: S101
        with ExitStack() as undo:
            anchor = open_anchor()
            undo.callback(anchor.close)
            reader = open_anchor()
            undo.callback(reader.close)
            anchor.execute("BEGIN IMMEDIATE")
            index = wal.read_index(pin.index)
            try:
                descriptor = open_beside(Path(self._log_name), os.O_RDWR)
            except OSError as error:
                raise StoreError(f"cannot open {self._log_name}: {error.strerror}") from None
            undo.callback(os.close, descriptor)
            if index is not None and index.last_frame == 0:
                os.ftruncate(descriptor, 0)
            anchor.execute("ROLLBACK")
            files = self.identify()
            undo.pop_all()
        pin.reader.close()
        pin.anchor.close()
        os.close(pin.log)
        return _Pin(files, anchor, reader, pin.descriptor, descriptor, pin.index)

    def _former_pin(self, files: Files) -> _Pin | None:
        """Remove and return the pin of a file that was put back unchanged, with its log."""
        for number, pin in enumerate(self._pins):
            if pin.files == files:
                return self._pins.pop(number)
        return None

    def _new_pin(self, files: Files, open_anchor: Callable[[], sqlite3.Connection]) -> _Pin:
        with ExitStack() as undo:
            try:
                descriptor = acquire(self._name, os.O_RDONLY, open_regular)
                undo.callback(release, descriptor)
                if not _has_magic(descriptor):
                    raise StoreError("the database file is not a SQLite database")
                self._refuse_a_foreign_log(descriptor)
            except OSError as error:
                raise StoreError(
                    f"cannot use {error.filename or self._name}: {error.strerror}"
                ) from None
            anchor = open_anchor()
            undo.callback(anchor.close)
            # Reads, and so takes the lock and opens the log.
            anchor.execute("PRAGMA schema_version").fetchone()
            reader = open_anchor()
            undo.callback(reader.close)
            log_descriptor = index_descriptor = None
            (mode,) = rows_of(anchor, "PRAGMA journal_mode")
            if mode["journal_mode"] == "wal":
                try:
                    log_descriptor = open_beside(Path(self._log_name))
                    undo.callback(os.close, log_descriptor)
                    # Opened for writing: a truncated log is read again.
                    index_descriptor = acquire(self._index_name, os.O_RDWR, open_beside)
                    undo.callback(release, index_descriptor)
                except OSError as error:
                    raise StoreError(f"cannot read {error.filename}: {error.strerror}") from None
            found = self.identify()
            if found.database != files.database:
                raise StoreError("the database file was replaced while it was being opened")
            undo.pop_all()
        return _Pin(found, anchor, reader, descriptor, log_descriptor, index_descriptor)

    def _refuse_a_foreign_log(self, descriptor: int) -> None:
        found = _identity(self._log_name)
        if found is None:
            return
        for pin in self._pins:
            if pin.files.log == found and not _same_content(pin.descriptor, descriptor):
                raise StoreError(
                    f"the database file was replaced, and {self.path.name}-wal belongs to the "
                    "previous one: remove it, and the -shm file beside it"
                )


def _identity(name: str) -> FileIdentity | None:
    try:
        status = os.stat(name)
    except OSError:
        return None
    return FileIdentity(status.st_dev, status.st_ino)


def _is_whole(pin: _Pin) -> bool:
    return pin.log is None or pin.index is None or wal.is_whole(pin.log, pin.index)


def is_sqlite(path: Path) -> bool:
    """Whether the file begins like a SQLite database; not for a file that this process has open."""
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
