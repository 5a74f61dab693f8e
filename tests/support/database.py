"""Migrated SQLite databases for tests in this process, created once and copied."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from latchkey.store.credentials import SqlStore
from latchkey.store.protocols import Store
from latchkey.store.sqlite.connections import SqliteConnections
from latchkey.store.sqlite.migrate import migrate


@lru_cache(maxsize=1)
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "latchkey.db"
        migrate(f"sqlite:///{path}")
        # The last connection is closed: all data is in the one file, which stays in WAL mode.
        return path.read_bytes()


def new_database(path: Path) -> str:
    """Create a migrated, empty database at ``path``; returns its URL."""
    path.touch(mode=0o600)
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


def connections_of(store: Store) -> SqliteConnections:
    """The connections of a store over SQLite, for a test that inspects them."""
    assert isinstance(store, SqlStore)
    assert isinstance(store._connections, SqliteConnections)
    return store._connections
