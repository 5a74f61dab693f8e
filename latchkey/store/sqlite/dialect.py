"""The SQL dialect of SQLite."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    and_,
    collate,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from latchkey.credentials.audit_encoding import text_of
from latchkey.errors import StoreError
from latchkey.store.connections import Merge

# In KiB; SQLite expects a negative number. With this cache, index pages, which change in random
# order, are written once and not repeatedly.
_PAGES_HELD = "PRAGMA cache_size = -65536"

_NUMBERS = text("SELECT name, seq FROM sqlite_sequence")
_HAS_NUMBER = text("SELECT count(*) FROM sqlite_sequence WHERE name = :name")
_RAISE_NUMBER = text("UPDATE sqlite_sequence SET seq = max(seq, :number) WHERE name = :name")
_ADD_NUMBER = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)")


def detail_expression(name: str) -> str:
    """One member of an audit row's detail; its index is defined with the same text."""
    # An altered detail may not be JSON; the log must still be readable.
    return f"CASE WHEN json_valid(detail) THEN json_extract(detail, '$.{name}') END"


class SqliteDialect:
    """See ``latchkey.store.connections.SqlDialect``."""

    def upsert(
        self, table: Table, keys: Sequence[str], merge: Merge, rows: Select[Any] | None = None
    ) -> Executable:
        """By ON CONFLICT."""
        added = sqlite_insert(table)
        if rows is not None:
            added = added.from_select(list(rows.selected_columns.keys()), rows)
        return added.on_conflict_do_update(
            index_elements=keys, set_=dict(merge(dict(added.excluded.items())))
        )

    def insert_many(
        self,
        connection: Connection,
        table: Table,
        columns: Sequence[str],
        rows: Sequence[tuple[object, ...]],
    ) -> None:
        """Through the driver: SQLAlchemy's processing of each row costs more than the insert."""
        connection.exec_driver_sql(_PAGES_HELD)
        connection.exec_driver_sql(_insertion(table, tuple(columns)), list(rows))

    def numbers(self, connection: Connection) -> dict[str, int]:
        """From SQLite's own table of them."""
        return {row.name: row.seq for row in connection.execute(_NUMBERS)}

    def raise_numbers(self, connection: Connection, numbers: Mapping[str, int]) -> None:
        """In SQLite's own table of them, which has no key."""
        for name, number in numbers.items():
            given = {"name": name, "number": number}
            if connection.execute(_HAS_NUMBER, given).scalar_one():
                connection.execute(_RAISE_NUMBER, given)
            else:
                connection.execute(_ADD_NUMBER, given)

    def one_of(self, column: ColumnElement[int], numbers: Collection[int]) -> ColumnElement[bool]:
        """By a list in JSON.

        With a placeholder for each number, every length would be a different statement, which each
        connection would prepare and cache.
        """
        listed = func.json_each(json.dumps(list(numbers))).table_valued("value")
        return column.in_(select(listed.c.value))

    def without_case(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """By SQLite's NOCASE collation."""
        return collate(column, "NOCASE")

    def contains(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        """By LIKE, which ignores the case of ASCII letters only.

        For other letters, LIKE preselects rows and GLOB compares them.
        """
        escaped = (f"\\{one}" if one in "\\%_" else one for one in text)
        pattern = "".join(one if one.isascii() else "_" for one in escaped)
        found = column.like(f"%{pattern}%", escape="\\")
        if text.isascii():
            return found
        glob = f"*{''.join(map(_either_case, text))}*"
        return and_(found, column.op("GLOB", is_comparison=True)(glob))

    def text_in_detail(self, name: str) -> ColumnElement[Any]:
        """A literal expression, as in the index."""
        return literal_column(detail_expression(name))

    def number_in_detail(self, name: str) -> ColumnElement[Any]:
        """The same: SQLite compares a number in JSON as a number."""
        return literal_column(detail_expression(name))

    @contextmanager
    def as_stored(self, connection: Connection) -> Iterator[None]:
        """SQLite allows any bytes in a text; outside of the block they are an error."""
        driver = connection.connection.driver_connection
        if driver is None:
            raise StoreError("the connection is closed")
        driver.text_factory = text_of
        try:
            yield
        finally:
            driver.text_factory = str


@lru_cache(maxsize=8)
def _insertion(table: Table, columns: tuple[str, ...]) -> str:
    added = insert(table).compile(dialect=sqlite.dialect(), column_keys=list(columns))
    if list(added.positiontup or ()) != list(columns):
        raise ValueError("the columns are not in the table's order")
    return str(added)


def _either_case(character: str) -> str:
    cases = {character, character.lower(), character.upper(), character.title()}
    one = sorted(each for each in cases if len(each) == 1)
    return f"[{''.join(one)}]" if len(one) > 1 or character in "*?[" else character
