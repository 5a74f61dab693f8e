"""The log of invalidations: what has changed, for whoever was not told by the one who changed it.

Each change adds a row in its own transaction. A process that remembers credentials reads the rows
after the last that it has seen, and invalidates what they name.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from latchkey.credentials.models import Invalidation
from latchkey.store.connections import Connections
from latchkey.store.rows import to_milliseconds
from latchkey.store.tables import invalidation

_BATCH = 10_000


def log_invalidation(connection: Connection, lookup: str, now: datetime) -> int:
    """Add a row for a lookup key, in the transaction that changes what it stands for; its number.

    Changes take turns, so the numbers are in the order of the commits.
    """
    added = insert(invalidation).returning(invalidation.c.id)
    row = {"lookup": lookup, "at": to_milliseconds(now)}
    number: int = connection.execute(added, row).scalar_one()
    return number


class SqlInvalidationLog:
    """The log of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def after(self, number: int) -> list[Invalidation]:
        """Rows with numbers above ``number``, the oldest first.

        At most 10,000; where there are as many, ask again.
        """
        query = (
            select(invalidation.c.id, invalidation.c.lookup, invalidation.c.at)
            .where(invalidation.c.id > number)
            .order_by(invalidation.c.id)
            .limit(_BATCH)
        )
        with self._connections.reading() as connection:
            return [Invalidation(row.id, row.lookup, row.at) for row in connection.execute(query)]

    def prune(self, before: datetime, below: int) -> int:
        """Delete rows older than ``before`` with numbers below ``below``; how many there were.

        Never the last row: whoever has seen it tells by it that this is still the same log.
        """
        last = select(func.max(invalidation.c.id)).scalar_subquery()
        old = delete(invalidation).where(
            invalidation.c.at < to_milliseconds(before),
            invalidation.c.id < below,
            invalidation.c.id < last,
        )
        with self._connections.writing(upkeep=True) as connection:
            return connection.execute(old).rowcount
