"""Copying SQLite's write-ahead log into the database, safely with every version of SQLite.

SQLite before 3.51.3 has a race (https://sqlite.org/wal.html#walresetbug): if one process restarts
the log while another determines what to copy, frames of the new log are marked as copied although
they are not, and changes are lost. A log that a connection is reading is not restarted.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress


def copy(anchor: sqlite3.Connection, reader: sqlite3.Connection) -> bool:
    """Copy as many frames as other connections permit. Both connections must be idle.

    Returns whether all frames were copied. They are not while another connection copies, or reads
    an older state. No writer waits for the copy. If everything is already copied, ``reader`` does
    not prevent a restart of the log, but prevents SQLite from copying. Failures are ignored: SQLite
    keeps the log.
    """
    with suppress(sqlite3.Error):
        reader.execute("BEGIN")
        try:
            reader.execute("PRAGMA schema_version").fetchone()
            busy, frames, copied = anchor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            reader.execute("ROLLBACK")
        return not busy and frames == copied
    return False
