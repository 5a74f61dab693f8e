"""The SQLAlchemy engines: they never create a file, are always durable, and detect replaced files.

Two engines share one file. The reader is in autocommit, so a SELECT sees the latest commit and
nothing older. The writer begins every transaction with BEGIN IMMEDIATE, so a write has the lock, or
fails before it has read anything.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from latchkey.errors import StoreError
from latchkey.store.sqlite.opening import open_database
from latchkey.store.sqlite.pinned import Files, PinnedFile


def open_reader(file: PinnedFile, *, busy_timeout: float, pool_size: int) -> Engine:
    """The engine for single SELECTs, in autocommit; ``busy_timeout`` in seconds."""
    return _open(file, busy_timeout, pool_size, isolation_level="AUTOCOMMIT")


def open_writer(file: PinnedFile, *, busy_timeout: float, pool_size: int) -> Engine:
    """The engine for transactions, each begun with BEGIN IMMEDIATE."""
    engine = _open(file, busy_timeout, pool_size)

    @event.listens_for(engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        file.require(files_of(connection))

    return engine


class PinnedConnection(sqlite3.Connection):
    """A connection that records which files it has open."""

    files: Files


def files_of(connection: Connection) -> Files:
    """The files that a connection of an engine has open."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, PinnedConnection):
        raise StoreError("the connection is closed")
    return driver.files


def connect_pinned(file: PinnedFile, busy_timeout: float) -> PinnedConnection:
    """Open the file; raises StoreError if that fails or the file is replaced meanwhile."""
    files = file.pin(lambda: _open_connection(file.path, busy_timeout), busy_timeout)
    connection = _open_connection(file.path, busy_timeout)
    try:
        # Reads, and so opens the log.
        connection.execute("PRAGMA schema_version").fetchone()
        if file.identify() != files:
            raise StoreError("a file of the database was replaced while it was being opened")
    except BaseException:
        connection.close()
        raise
    connection.files = files
    return connection


def _open_connection(path: Path, busy_timeout: float) -> PinnedConnection:
    # The driver's own transactions are off; SQLAlchemy and the "begin" hook control them.
    try:
        connection = open_database(path, PinnedConnection, timeout=busy_timeout)
    except OSError as error:
        raise StoreError(f"cannot use {error.filename or path}: {error.strerror}") from None
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # The log is copied by ``log_copy`` alone, which is safe with every version of SQLite.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _open(file: PinnedFile, busy_timeout: float, pool_size: int, **options: Any) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: connect_pinned(file, busy_timeout),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=2 * busy_timeout,
        # Bound values are never secrets, but do not belong in a log either.
        hide_parameters=True,
        **options,
    )

    @event.listens_for(engine, "checkout")
    def _compare(connection: PinnedConnection, record: object, proxy: object) -> None:
        if connection.files != file.identify():
            # SQLAlchemy then replaces the connection by a new one.
            raise DisconnectionError

    return engine
