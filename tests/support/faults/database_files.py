"""The files of a database in use, which faults copy and remove."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def copy_database(database: Path, target: Path) -> None:
    """A consistent copy, as in a backup of a database in use."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
