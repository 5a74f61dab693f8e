"""The database of a service, as another program sees it: a SQLite file, or one of PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tests.support.postgresql import Postgresql


class Connected(Protocol):
    """A connection in autocommit. ``BEGIN IMMEDIATE`` begins a transaction with its turn."""

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Any:
        """Run a statement with ``?`` or ``:name`` for its values."""


class ServiceDatabase(Protocol):
    """Where the rows of a service are."""

    def connected(self) -> Any:
        """A context manager with a connection."""

    def away(self) -> Any:
        """A context manager within which the service cannot use the database."""

    def written(self) -> dict[str, bytes]:
        """All that is stored, in the form it has there and in plain text, by what it is."""


class SqliteFile:
    """A file of SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def connected(self) -> Iterator[Connected]:
        """A connection, closed at the end of the block."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            yield connection

    @contextmanager
    def away(self) -> Iterator[None]:
        """Move the file away until the end of the block."""
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        try:
            yield
        finally:
            away.rename(self.path)

    def written(self) -> dict[str, bytes]:
        """The files of the database, by their names."""
        return {path.name: path.read_bytes() for path in self.path.parent.glob("*.db*")}


class OnPostgresql:
    """A database of a PostgreSQL server of the tests."""

    def __init__(self, server: Postgresql, name: str) -> None:
        self.server, self.name = server, name

    def url(self, password: str | None = None) -> str:
        """The URL for ``LATCHKEY_DATABASE_URL``."""
        return self.server.url(self.name, password=password)

    @contextmanager
    def connected(self) -> Iterator[Connected]:
        """A connection, closed at the end of the block."""
        with self.server.connect(self.name) as connection:
            yield _Translated(connection)

    @contextmanager
    def away(self) -> Iterator[None]:
        """End its connections and allow no new ones until the end of the block."""
        allowed = f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS'
        self.server.execute(f"{allowed} false")
        try:
            self.server.end_connections(self.name)
            yield
        finally:
            self.server.execute(f"{allowed} true")

    def written(self) -> dict[str, bytes]:
        """The rows of all tables, the files of the database, its log of changes, and its log."""
        server = self.server
        server.execute("CHECKPOINT")
        tables = server.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=self.name
        )
        with server.connect(self.name) as connection:
            rows = b"".join(_copied(connection, table) for (table,) in tables)
        number = server.execute("SELECT oid FROM pg_database WHERE datname = %s", self.name)[0][0]
        return {
            "tables": rows,
            "files": _contents(server.data / "base" / str(number)),
            "log of changes": _contents(server.data / "pg_wal"),
            "log of the server": server.log.encode(),
        }


class _Translated:
    """A connection of PostgreSQL that takes the statements of these tests."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Any:
        if statement == "BEGIN IMMEDIATE":
            from latchkey.store.postgresql.turns import TURN

            statement = f"BEGIN; SELECT pg_advisory_xact_lock({TURN})"
        named = re.sub(r"(?<=[ =(]):([a-z]+)\b", r"%(\1)s", statement.replace("%", "%%"))
        return self._connection.execute(named.replace("?", "%s").encode(), values or None)


def _copied(connection: Any, table: str) -> bytes:
    with connection.cursor().copy(f'COPY "{table}" TO STDOUT'.encode()) as rows:
        return b"".join(bytes(row) for row in rows)


def _contents(directory: Path) -> bytes:
    files = [path.read_bytes() for path in directory.iterdir() if path.is_file()]
    # Much of the log of changes has not been used yet.
    return b"".join(content.rstrip(b"\0") for content in files)
