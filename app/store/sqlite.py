"""SQLite as Latchkey opens it: never creating, always durable, never a file that was replaced.

Two engines share one file. The reader is in autocommit, so a SELECT sees what was committed when
it ran and nothing older; the writer begins every transaction with BEGIN IMMEDIATE, so a write
either has the lock or fails before it has read anything.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import QueuePool

from app.errors import ConfigurationError, StoreError


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file it is, whatever its name: the device and the inode."""

    device: int
    inode: int


def database_path(url: str) -> Path:
    """The file that a ``sqlite:///…`` URL names; raises ConfigurationError for anything else."""
    try:
        parsed: URL = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL is not a database URL; use sqlite:///path/to/latchkey.db"
        ) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.query:
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL must name a SQLite file, as sqlite:///path/to/latchkey.db"
        )
    if parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL must name a file: a database in memory cannot be shared "
            "between workers"
        )
    return Path(parsed.database).absolute()


def identify(path: Path) -> FileIdentity:
    """The identity of the database file, which must be there and usable.

    An open file stays usable after its name or its permissions have gone: what the operator took
    away must not go on being served, so the name is what counts. Raises StoreError.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise StoreError(f"cannot find the database file: {error.strerror}") from None
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError("no permission to read and write the database file")
    return FileIdentity(status.st_dev, status.st_ino)


def open_reader(path: Path, *, busy_timeout: float, pool_size: int) -> Engine:
    """The engine for single SELECTs, in autocommit; ``busy_timeout`` in seconds."""
    return _open(path, busy_timeout, pool_size, isolation_level="AUTOCOMMIT")


def open_writer(path: Path, *, busy_timeout: float, pool_size: int) -> Engine:
    """The engine for transactions, each begun with BEGIN IMMEDIATE."""
    engine = _open(path, busy_timeout, pool_size)

    @event.listens_for(engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


class _PinnedConnection(sqlite3.Connection):
    """A connection that remembers which file it has open."""

    identity: FileIdentity


def _connect(path: Path, busy_timeout: float) -> _PinnedConnection:
    """Open the file at ``path``; raises StoreError where that fails or the file is swapped."""
    before = identify(path)
    # mode=rw: a missing database is an error, never a new empty one. The driver's own transaction
    # handling is off; SQLAlchemy and the "begin" hook say what happens.
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=_PinnedConnection,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if identify(path) != before:
            raise StoreError("the database file was replaced while it was being opened")
    except BaseException:
        connection.close()
        raise
    connection.identity = before
    return connection


def _open(path: Path, busy_timeout: float, pool_size: int, **options: Any) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path, busy_timeout),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=2 * busy_timeout,
        # What is bound is never a secret, but it has no business in a log either.
        hide_parameters=True,
        **options,
    )

    @event.listens_for(engine, "checkout")
    def _compare(connection: _PinnedConnection, record: object, proxy: object) -> None:
        if connection.identity != identify(path):
            # SQLAlchemy answers this by opening a new connection in place of the old one.
            raise DisconnectionError

    return engine
