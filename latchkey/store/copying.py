"""Copying every table of a database into an empty one, which may be of another kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, func, select, tuple_

from latchkey.credentials.audit import AuditEvent, AuditRow
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.errors import LatchkeyError
from latchkey.store.audit import stored_rows
from latchkey.store.connections import SqlDialect
from latchkey.store.credentials import SqlStore
from latchkey.store.protocols import Store
from latchkey.store.tables import account, metadata
from latchkey.store.transactions import commit

_BATCH = 5_000
# The boxes are those of the database that they use.
_COPIED = [table for table in metadata.sorted_tables if table.name != "box"]

Judge = Callable[[Iterable[AuditRow]], None]
"""Verifies a log, and raises an error to stop the copy."""


class CopyFailed(LatchkeyError):
    """The database was not copied; the target is as it was."""


@dataclass(frozen=True, slots=True)
class TableCopied:
    """One table: how many rows were copied, and a digest of all of them."""

    name: str
    rows: int
    digest: str


def copy_database(
    source: Store,
    target: Store,
    record: Callable[[dict[str, int]], AuditEvent],
    judge: Judge,
    progress: Callable[[str, int], None],
) -> Outcome[dict[str, int]]:
    """Copy all tables in one transaction; returns the number of rows of each table.

    Both have the current revision, and the target has no other content.
    Neither changes meanwhile. Every row is read back and compared. ``judge`` is called with the
    copied log. Then a row is added to it, which ``record`` makes of the result. ``progress`` is
    called with the name of a table and the number of its rows that are copied. Raises CopyFailed,
    StoreError and what ``judge`` raises; the target is then as it was.
    """
    read, written = sql_store(source), sql_store(target)

    def transaction(connection: Connection) -> Made[dict[str, int]]:
        _require_empty(connection)
        connection.execute(delete(account))
        dialect = written.connections.dialect
        with read.connections.writing(upkeep=True) as there:
            rows = {}
            for table in _COPIED:
                made = copy_rows(there, connection, dialect, table, table, progress)
                if digest_of(connection, table) != made:
                    raise CopyFailed(
                        f"nothing was copied: the rows of {table.name} differ from the original"
                    )
                rows[table.name] = made.rows
            numbers = read.connections.dialect.numbers(there)
        judge(stored_rows(connection, dialect))
        dialect.raise_numbers(connection, numbers)
        head = written.audit.append(connection, record(rows))
        return Made(rows, Publication(head=head, replaces_head=True))

    return commit(written.connections, transaction)


def copy_rows(
    source: Connection,
    target: Connection,
    dialect: SqlDialect,
    table: Table,
    into: Table,
    progress: Callable[[str, int], None] = lambda name, rows: None,
) -> TableCopied:
    """Copy the rows of a table into one with the same columns, in batches.

    ``dialect`` is that of the target. Raises CopyFailed for a value that only SQLite can store.
    """
    columns = [column.name for column in table.columns]
    copied, digest = 0, hashlib.sha256()
    for batch in _batches(source, table):
        values = [_checked(table, row) for row in batch]
        dialect.insert_many(target, into, columns, values)
        copied += len(values)
        digest.update(repr(values).encode())
        progress(table.name, copied)
    return TableCopied(table.name, copied, digest.hexdigest())


def digest_of(connection: Connection, table: Table) -> TableCopied:
    """What ``copy_rows`` returns for the table from which these rows were copied."""
    rows, digest = 0, hashlib.sha256()
    for batch in _batches(connection, table):
        values = [tuple(row) for row in batch]
        rows += len(values)
        digest.update(repr(values).encode())
    return TableCopied(table.name, rows, digest.hexdigest())


def _batches(connection: Connection, table: Table) -> Iterator[list[Row[Any]]]:
    """All rows in the order of the primary key: every database compares texts by their bytes."""
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key).limit(_BATCH)
    after = query
    while batch := list(connection.execute(after)):
        yield batch
        last = tuple(batch[-1]._mapping[column] for column in key)
        after = query.where(tuple_(*key) > tuple_(*last))


def _checked(table: Table, row: Row[Any]) -> tuple[object, ...]:
    """The values of a row; raises CopyFailed if one is not of the type of its column."""
    values = tuple(row)
    for column, value in zip(table.columns, values, strict=True):
        kind = column.type.python_type
        if value is not None and (type(value) is not kind or (kind is str and "\0" in value)):
            key = ", ".join(str(row._mapping[one]) for one in table.primary_key.columns)
            raise CopyFailed(
                f"nothing was copied: the column {column.name} of the row {key} of {table.name} "
                "has a value that the other database cannot store"
            )
    return values


def require_empty(store: Store) -> None:
    """Raise CopyFailed unless a database has nothing but what a migration creates."""
    with sql_store(store).connections.reading() as connection:
        _require_empty(connection)


def _require_empty(connection: Connection) -> None:
    for table in metadata.sorted_tables:
        # The instance account, with no key yet.
        allowed = int(table is account)
        found = connection.execute(select(func.count()).select_from(table)).scalar_one()
        if found > allowed:
            raise CopyFailed(
                "nothing was copied: the target is not empty, and its content would be lost; name "
                "an empty database, such as a new one"
            )


def sql_store(store: Store) -> SqlStore:
    """The store, which is not the one in memory."""
    if not isinstance(store, SqlStore):
        raise TypeError("only a database can be copied")
    return store
