"""Opening a database file: never creating it, and safely in directories of other users.

SQLite reads any log or journal beside the database, even one that another user put there, and would
wait for a pipe. So the files are checked first.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal, TypeVar

from latchkey.files.shared_places import require_beside, require_regular
from latchkey.store.sqlite.location import BESIDE, sqlite_uri

_Connection = TypeVar("_Connection", bound=sqlite3.Connection)


def open_database(
    path: Path, factory: type[_Connection], *, timeout: float, mode: Literal["ro", "rw"] = "rw"
) -> _Connection:
    """A connection in autocommit to an existing file; ``timeout`` in seconds, for locks.

    Raises UnsafeFile if the database is not a regular file, or a file beside it is a link or
    belongs to another user; OSError; sqlite3.Error.
    """
    require_regular(path)
    require_safe_files(path)
    connection = sqlite3.connect(
        sqlite_uri(path, mode),
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten with zeros; some builds of SQLite do not by default.
        connection.execute("PRAGMA secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def rows_of(
    connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...] = ()
) -> list[sqlite3.Row]:
    """The rows of a statement, to be read by the names of their columns; raises sqlite3.Error."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(statement, parameters).fetchall()


def require_safe_files(path: Path) -> None:
    """Raise UnsafeFile unless SQLite may read the files beside a database; OSError."""
    # SQLite follows links to the database, and uses the files beside the link's target.
    name = os.path.realpath(path)
    for suffix in BESIDE:
        require_beside(Path(f"{name}{suffix}"))
