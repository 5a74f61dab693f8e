"""A PostgreSQL database as Latchkey's database: its URL, the files of this box, and its store.

The database is on a server that other boxes use too. What belongs to this box alone is in files
beside the head of the audit log: the lock of the service, which names the shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import real_path
from latchkey.store.audit_head import Seal
from latchkey.store.lifecycle import MigrationReport
from latchkey.store.postgresql.errors import reason_of
from latchkey.store.postgresql.location import Password, location_of
from latchkey.store.postgresql.migrate import connected, migrate_in_child, preparing
from latchkey.store.postgresql.own_tables import home_of, revisions_of
from latchkey.store.protocols import Store

_VARIABLE = "LATCHKEY_DATABASE_URL"


class PostgresqlDatabase:
    """The database that a ``postgresql+psycopg://…`` URL names."""

    def __init__(self, url: str, password: Password, head: Path) -> None:
        """Connect to nothing yet; raises ConfigurationError for any other URL.

        ``password`` is called for each connection, and returns None without one in the settings.
        ``head`` is the file of the audit log's head.
        """
        self._location = location_of(url, password)
        self._head = head.absolute()

    def __repr__(self) -> str:
        return f"PostgresqlDatabase({self.shown!r})"

    @property
    def shown(self) -> str:
        """The URL without a password."""
        return self._location.shown

    @property
    def identity(self) -> bytes:
        """The servers and the name of the database."""
        return self._location.identity

    @property
    def directory(self) -> Path | None:
        """None: no directory of this box has the database."""
        return None

    @property
    def place(self) -> Path:
        """The head of the audit log: the user of the instance owns it."""
        return self._head

    @property
    def files(self) -> Sequence[Path]:
        """The lock file."""
        return [self.service_lock]

    @property
    def service_lock(self) -> Path:
        """A file beside the head of the audit log, which is this box's too."""
        real = real_path(self._head)
        return real.with_name(f"{real.name}-service")

    def exists(self) -> bool:
        """Whether the database has Latchkey's tables; raises ConfigurationError."""
        try:
            with connected(self._location.conninfo()) as connection:
                home_of(connection)
                return revisions_of(connection) != []
        except psycopg.Error as error:
            raise self._unusable(error) from None

    def require(self) -> None:
        """Raise ConfigurationError unless the database has Latchkey's tables."""
        if not self.exists():
            raise ConfigurationError(
                f"the database {self.shown} has no tables of Latchkey ({_VARIABLE} names it): "
                "correct that setting; to create a new instance, run: latchkey init"
            )

    def losses(self) -> str | None:
        """None: the server looks after its files."""
        return None

    def prepare(self) -> MigrationReport:
        """Create the tables if they are missing, and migrate them, in a child process."""
        return migrate_in_child(self._location)

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Hold the lock of migrations, on the server."""
        try:
            with preparing(self._location.conninfo()):
                yield
        except psycopg.Error as error:
            raise self._unusable(error) from None

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
        """A store over the database, which opens no connection yet."""
        from latchkey.store.credentials import SqlStore
        from latchkey.store.postgresql.boxes import PostgresqlBoxStore
        from latchkey.store.postgresql.connections import PostgresqlConnections

        connections = PostgresqlConnections(
            self._location,
            pool_size=pool_size,
            lookup_timeout=lookup_timeout,
            write_timeout=write_timeout,
            change_places=change_places,
            is_alone=is_alone,
        )
        return SqlStore(connections, seal, PostgresqlBoxStore(connections))

    def _unusable(self, error: psycopg.Error) -> ConfigurationError:
        return ConfigurationError(
            f"the database {self.shown} cannot be used ({_VARIABLE} names it): {reason_of(error)}"
        )
