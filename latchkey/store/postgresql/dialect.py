"""The SQL dialect of PostgreSQL.

The migration gives every text the collation "C", so texts are compared by their characters' codes,
and functions such as lower change ASCII letters only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import errors as driver_errors
from psycopg import sql
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    any_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.exc import IntegrityError

from latchkey.store.connections import Merge

_SEQUENCES = text("""
    SELECT relname AS of_table, pg_get_serial_sequence(quote_ident(relname), attname) AS sequence
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'invalidation'::regclass)
    AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    AND pg_get_serial_sequence(quote_ident(relname), attname) IS NOT NULL
""")
_LAST_NUMBER = text("SELECT pg_sequence_last_value(CAST(:sequence AS regclass))")
_RAISE_NUMBER = text("SELECT setval(CAST(:sequence AS regclass), :number)")


class PostgresqlDialect:
    """See ``latchkey.store.connections.SqlDialect``."""

    def upsert(
        self, table: Table, keys: Sequence[str], merge: Merge, rows: Select[Any] | None = None
    ) -> Executable:
        """By ON CONFLICT."""
        added = postgresql_insert(table)
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
        """By COPY, which numbers the rows in the order in which they are sent."""
        driver: Any = connection.connection.driver_connection
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        copying = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), names)
        try:
            with driver.cursor() as cursor, cursor.copy(copying) as copy:
                for row in rows:
                    copy.write_row(row)
        except driver_errors.IntegrityError as error:
            raise IntegrityError(None, None, error) from None

    def numbers(self, connection: Connection) -> dict[str, int]:
        """From the sequences of the columns that number rows."""
        numbers = {}
        for name, sequence in _sequences(connection).items():
            last = connection.execute(_LAST_NUMBER, {"sequence": sequence}).scalar_one()
            if last is not None:
                numbers[name] = last
        return numbers

    def raise_numbers(self, connection: Connection, numbers: Mapping[str, int]) -> None:
        """In the sequences, which a rollback does not reset."""
        there = self.numbers(connection)
        for name, sequence in _sequences(connection).items():
            if numbers.get(name, 0) > there.get(name, 0):
                given = {"sequence": sequence, "number": numbers[name]}
                connection.execute(_RAISE_NUMBER, given)

    def one_of(self, column: ColumnElement[int], numbers: Collection[int]) -> ColumnElement[bool]:
        """By an array."""
        listed = bindparam(None, list(numbers), type_=ARRAY(BigInteger), unique=True)
        return column == any_(listed)

    def without_case(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """By lower case, as in the index."""
        return func.lower(column)

    def contains(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        """By LIKE in lower case for ASCII; otherwise by a regular expression with both cases."""
        if "\0" in text:
            # In no text of PostgreSQL.
            return false()
        if text.isascii():
            escaped = re.sub(r"([\\%_])", r"\\\1", text.lower())
            return func.lower(column).like(f"%{escaped}%", escape="\\")
        pattern = "".join(map(_either_case, text))
        return column.op("~", is_comparison=True)(pattern)

    def text_in_detail(self, name: str) -> ColumnElement[Any]:
        """By a regular expression, literal as in the index.

        In rows that Latchkey writes, no other object within the detail has such a name.
        """
        return literal_column(f"""substring(detail, '"{name}": ?"([^"\\\\]*)"')""")

    def number_in_detail(self, name: str) -> ColumnElement[Any]:
        """By a regular expression, as above."""
        found: ColumnElement[str] = literal_column(
            f"""substring(detail, '"{name}": ?([0-9]{{1,18}})[,}}]')"""
        )
        return cast(found, BigInteger)

    @contextmanager
    def as_stored(self, connection: Connection) -> Iterator[None]:
        """Nothing to do: PostgreSQL stores valid UTF-8 only."""
        yield


def _either_case(character: str) -> str:
    cases = {character, character.lower(), character.upper(), character.title()}
    one = sorted(each for each in cases if len(each) == 1)
    if len(one) > 1:
        return f"[{''.join(one)}]"
    return f"\\{character}" if character.isascii() and not character.isalnum() else character


def _sequences(connection: Connection) -> dict[str, str]:
    """The sequence of each table that numbers its rows by one."""
    return {row.of_table: row.sequence for row in connection.execute(_SEQUENCES)}
