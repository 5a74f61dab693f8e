"""Copying SQLite's write-ahead log into the database, safely with every version of SQLite.

SQLite before 3.51.3 has a race (https://sqlite.org/wal.html#walresetbug): where one process begins
the log anew while another looks at what there is to copy, frames of the new log count as copied
that are not, and changes are lost. A log that somebody reads is not begun anew.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress


def copy(anchor: sqlite3.Connection, reader: sqlite3.Connection) -> None:
    """Copy as much as nobody is in the way of; two connections to one database, both idle.

    No writer waits for it. Where all is copied already, ``reader`` does not keep the log, but keeps
    SQLite from copying at all. No failure matters: SQLite still has the log.
    """
    with suppress(sqlite3.Error):
        reader.execute("BEGIN")
        try:
            reader.execute("PRAGMA schema_version").fetchone()
            anchor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            reader.execute("ROLLBACK")
