"""The log of invalidations: changes that a worker replays if their process did not publish them.

Each change adds a row in its own transaction. A process that caches credentials reads the rows
after the last one it has seen, and invalidates their lookup keys.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from latchkey.credentials.models import Invalidation
from latchkey.credentials.times import to_milliseconds
from latchkey.store.connections import Connections
from latchkey.store.tables import box, invalidation

_BATCH = 10_000


def new_nonce() -> int:
    """The random number of a new row."""
    return secrets.randbits(63)


def log_invalidation(connection: Connection, lookup: str, now: datetime) -> int:
    """Add a row for a lookup key, in the transaction of its change; returns the row's number.

    Changes take turns, so the numbers are in the order of the commits.
    """
    added = insert(invalidation).returning(invalidation.c.id)
    row = {"lookup": lookup, "at": to_milliseconds(now), "nonce": new_nonce()}
    number: int = connection.execute(added, row).scalar_one()
    return number


class SqlInvalidationLog:
    """The log of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def after(self, number: int) -> list[Invalidation]:
        """Rows with numbers above ``number``, the oldest first.

        At most 10,000. If there are that many, call again for more.
        """
        query = (
            select(invalidation)
            .where(invalidation.c.id > number)
            .order_by(invalidation.c.id)
            .limit(_BATCH)
        )
        with self._connections.reading() as connection:
            return [
                Invalidation(row.id, row.lookup, row.at, row.nonce)
                for row in connection.execute(query)
            ]

    def prune(self, before: datetime, below: int) -> int:
        """Delete rows older than ``before`` with numbers below ``below``; returns how many.

        The last row is kept: a reader that has seen it recognises the same log by it. So is every
        row from the lowest one that a live box has confirmed.
        """
        last = select(func.max(invalidation.c.id)).scalar_subquery()
        confirmed = select(func.min(box.c.confirmed)).where(box.c.live).scalar_subquery()
        old = delete(invalidation).where(
            invalidation.c.at < to_milliseconds(before),
            invalidation.c.id < below,
            invalidation.c.id < last,
            invalidation.c.id < func.coalesce(confirmed, last),
        )
        with self._connections.writing(upkeep=True) as connection:
            return connection.execute(old).rowcount
