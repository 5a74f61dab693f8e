"""A SQLite file as Latchkey's database: its place, the files beside it, and its store.

SQLAlchemy is loaded only when the store is opened, because loading takes most of a command's time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from latchkey.store.audit_head import Seal
from latchkey.store.lifecycle import MigrationReport
from latchkey.store.protocols import Store
from latchkey.store.sqlite.location import BESIDE, database_path, require_database
from latchkey.store.sqlite.migrate import database_lock, migrate_in_child
from latchkey.store.sqlite.wal import lost_log

_FILES = ("", *BESIDE, "-service", ".migration-lock")


class SqliteDatabase:
    """The file that a ``sqlite:///…`` URL names."""

    def __init__(self, url: str) -> None:
        """Access no file yet; raises ConfigurationError for any other URL."""
        self._url = url
        self._path = database_path(url)

    @property
    def shown(self) -> str:
        """The URL, which has no password."""
        return self._url

    @property
    def identity(self) -> bytes:
        """The real path of the file."""
        return os.fsencode(self._path)

    @property
    def directory(self) -> Path:
        """The real directory of the file."""
        return self._path.parent

    @property
    def place(self) -> Path:
        """The file."""
        return self._path

    @property
    def files(self) -> Sequence[Path]:
        """The database file, and the files that SQLite and Latchkey keep beside it."""
        return [self._path.with_name(f"{self._path.name}{suffix}") for suffix in _FILES]

    @property
    def service_lock(self) -> Path:
        """A file beside the real one."""
        return self._path.with_name(f"{self._path.name}-service")

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    def require(self) -> None:
        """Raise ConfigurationError without a file."""
        require_database(self._url)

    def losses(self) -> str | None:
        """Describe the loss if the write-ahead log is missing, but its index exists."""
        return lost_log(self._path)

    def prepare(self) -> MigrationReport:
        """Create the file if it is missing, and migrate it, in a child process."""
        return migrate_in_child(self._url)

    def preparing(self) -> AbstractContextManager[None]:
        """Hold the migration lock."""
        return database_lock(self._path)

    def open_store(
        self,
        *,
        pool_size: int = 8,
        lookup_timeout: float = 1.0,
        write_timeout: float = 10.0,
        change_places: int | None = None,
        seal: Seal | None = None,
        is_alone: bool = False,
    ) -> Store:
        """A store over the file, which opens no connection yet."""
        from latchkey.store.credentials import SqlStore
        from latchkey.store.sqlite.connections import SqliteConnections

        connections = SqliteConnections(
            self._path,
            pool_size=pool_size,
            lookup_timeout=lookup_timeout,
            write_timeout=write_timeout,
            change_places=change_places,
        )
        return SqlStore(connections, seal)
