"""The requirements of this package's SQL on a database: connections, and a dialect.

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
"""Maps the columns of a row that cannot be inserted to new values for the existing row."""


class Lookup(Protocol):
    """The reads that a request waits for: single rows, as committed when the read began."""

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key."""

    def imported_verifier(self, token_hash: bytes) -> Verifier | None:
        """The verifier of the imported credential whose token has this SHA-256."""


class SqlDialect(Protocol):
    """The SQL that differs between databases, as SQLAlchemy Core."""

    def upsert(
        self, table: Table, keys: Sequence[str], merge: Merge, rows: Select[Any] | None = None
    ) -> Executable:
        """Insert a row; if there is one with the same keys, update it with ``merge``.

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

    def numbers(self, connection: Connection) -> dict[str, int]:
        """The last number that each table with numbered rows has assigned, by its name.

        0, or no entry, for a table that has not assigned any.
        """

    def raise_numbers(self, connection: Connection, numbers: Mapping[str, int]) -> None:
        """Let tables assign only larger numbers than these from now on; never lowers one."""

    def one_of(self, column: ColumnElement[int], numbers: Collection[int]) -> ColumnElement[bool]:
        """Whether a column has one of these numbers: the same SQL however many there are."""

    def without_case(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """An expression to sort text by, ignoring the case of ASCII letters."""

    def contains(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        """Whether a text contains this one, ignoring the case of letters."""

    def text_in_detail(self, name: str) -> ColumnElement[Any]:
        """One text of an audit row's detail, as Latchkey writes it; NULL if it is missing."""

    def number_in_detail(self, name: str) -> ColumnElement[Any]:
        """One number of an audit row's detail, as Latchkey writes it; NULL if it is missing."""

    def as_stored(self, connection: Connection) -> AbstractContextManager[None]:
        """Within the block, also read text that is not UTF-8, decoded by ``text_of``."""


class Connections(Protocol):
    """The connections of one store. For many threads; not across a fork."""

    @property
    def dialect(self) -> SqlDialect:
        """The dialect of this database."""

    @property
    def lookup(self) -> Lookup:
        """The reads that a request waits for."""

    @property
    def places(self) -> ChangePlaces:
        """How many threads may be in a change at once."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection on which each statement sees the state that was committed when it began.

        Failures become StoreError.
        """

    def writing(
        self, *, upkeep: bool = False, secured: bool = True
    ) -> AbstractContextManager[Connection]:
        """A connection in a transaction, committed durably at the end of the block.

        Transactions take turns: each gets its turn before it reads anything, and every statement
        sees what earlier transactions have committed. Transactions of the ``upkeep`` take turns
        too, but occupy no place for changes, and change no column that a change reads.

        Failures become StoreError; an exception of the block rolls the transaction back. After an
        error that is raised after the block, it is unknown whether the transaction was committed.
        Raises ChangesBusy if too many changes are waiting already. The commit is also made secure,
        as by ``secure``, unless it is one of the upkeep or ``secured`` is False: then the caller
        publishes the change first, and calls ``secure``.
        """

    def reserving(self) -> AbstractContextManager[Connection]:
        """A connection in a short transaction on limits, committed durably at the end of the block.

        It occupies no place for changes. Rows that it reads FOR UPDATE stay as they are until its
        end, also where it does not wait for the turns of other transactions.

        Failures become StoreError; an exception of the block rolls the transaction back.
        """

    def secure(self) -> None:
        """Protect what is committed, and therefore durable, against later faults of the files.

        If changes make no progress, this is left to ``look_after``.
        """

    def scrub(self) -> str | None:
        """Rewrite the database, so that no deleted text is left in it; others wait to write.

        Returns what is left to do for the operator of the database, in words; None for nothing.
        Failures become StoreError.
        """

    def look_after(self) -> None:
        """Detect faults of the database; raises StoreError if one cannot be repaired."""

    def close(self) -> None:
        """Close the connections, which must be idle; later calls open new ones."""
