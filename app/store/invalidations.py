"""The log of invalidations: what has changed, for whoever was not told by the one who changed it.

Each change adds a row in its own transaction. A process that remembers credentials reads the rows
after the last that it has seen, and invalidates what they name.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from app.store.connections import Connections
from app.store.rows import to_milliseconds
from app.store.tables import invalidation

_BATCH = 10_000


def log_invalidation(connection: Connection, lookup: str, now: datetime) -> None:
    """Add a row for a lookup key, in the transaction that changes what it stands for."""
    connection.execute(insert(invalidation), {"lookup": lookup, "at": to_milliseconds(now)})


class InvalidationLog:
    """The log of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def after(self, number: int) -> list[tuple[int, str]]:
        """Rows with numbers above ``number`` as (number, lookup key), the oldest first.

        At most 10,000; where there are as many, ask again.
        """
        query = (
            select(invalidation.c.id, invalidation.c.lookup)
            .where(invalidation.c.id > number)
            .order_by(invalidation.c.id)
            .limit(_BATCH)
        )
        with self._connections.reading() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def last(self) -> int:
        """The highest number in the log, 0 where it is empty."""
        query = select(func.max(invalidation.c.id))
        with self._connections.reading() as connection:
            return connection.execute(query).scalar_one() or 0

    def prune(self, before: datetime) -> int:
        """Delete rows older than ``before``, but never the last one; how many there were.

        The last row keeps its number in the table, so that ``last`` never goes back.
        """
        last = select(func.max(invalidation.c.id)).scalar_subquery()
        old = delete(invalidation).where(
            invalidation.c.at < to_milliseconds(before), invalidation.c.id < last
        )
        with self._connections.writing() as connection:
            return connection.execute(old).rowcount
