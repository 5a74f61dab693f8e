"""What the SQL of this package needs of a database: connections, and what each spells differently.

Everything else is SQLAlchemy Core that every database runs unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Executable, Select, Table

from latchkey.credentials.models import Verifier
from latchkey.store.places import ChangePlaces

Merge = Callable[[Mapping[str, Any]], Mapping[str, ColumnElement[Any]]]
"""From the columns of a row that cannot be inserted to what becomes of the row that is there."""


class Lookup(Protocol):
    """The reads that a request waits for, each of one row as committed when it began."""

    def verifier(self, api_key: str) -> Verifier | None:
        """What to check a secret of this key against."""

    def imported_verifier(self, token_hash: bytes) -> Verifier | None:
        """The same of the imported credential whose token has this SHA-256."""


class SqlDialect(Protocol):
    """What databases spell differently, as SQLAlchemy Core."""

    def upsert(
        self, table: Table, keys: Sequence[str], merge: Merge, rows: Select[Any] | None = None
    ) -> Executable:
        """Insert a row, or where there is one with the same keys, set what ``merge`` says.

        ``rows`` are inserted in place of values; its columns have the names of the table's.
        """

    def insert_many(
        self,
        connection: Connection,
        table: Table,
        columns: Sequence[str],
        rows: Sequence[tuple[object, ...]],
    ) -> None:
        """Insert many rows, numbered in their order; raises SQLAlchemy's IntegrityError."""

    def one_of(self, column: ColumnElement[int], numbers: Collection[int]) -> ColumnElement[bool]:
        """Whether a column has one of these numbers: the same SQL however many there are."""

    def without_case(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """A text to sort by without regard to the case of ASCII letters."""

    def contains(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        """Whether a text has this in it, in either case of its letters."""

    def in_detail(self, name: str) -> ColumnElement[Any]:
        """One text or number of an audit row's detail; NULL where it has none, or is no JSON."""

    def as_stored(self, connection: Connection) -> AbstractContextManager[None]:
        """Read within the block what is no text in UTF-8 too, as ``audit.text_of`` makes it."""


class Connections(Protocol):
    """The connections of one store. For many threads; not across a fork."""

    @property
    def dialect(self) -> SqlDialect:
        """The database's way to say things."""

    @property
    def lookup(self) -> Lookup:
        """The reads that a request waits for."""

    @property
    def places(self) -> ChangePlaces:
        """How many threads may be in a change at once."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection on which each statement sees what was committed when it began.

        Failures become StoreError.
        """

    def writing(self, *, upkeep: bool = False) -> AbstractContextManager[Connection]:
        """A connection in a transaction, committed durably at the end of the block.

        Transactions that are no upkeep take turns: the turn is taken before anything is read, and
        every statement sees what the ones before it have committed. Those of upkeep take turns too;
        they take no place among changes, and change no column that a change reads.

        Failures become StoreError; an exception of the block rolls the transaction back. What is
        raised after the block leaves it unknown whether it was committed. Raises ChangesBusy where
        too many changes are waiting already.
        """

    def look_after(self) -> None:
        """Notice faults of the database; raises StoreError where one cannot be put right."""

    def close(self) -> None:
        """Close the connections, all idle by now; new ones are opened where they are needed."""
