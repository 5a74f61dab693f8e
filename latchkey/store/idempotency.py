"""The requests that created a key, by the calling key and its idempotency key.

An entry is written in the transaction that creates the key, and read in the transaction of a
repeated request, so exactly one of them creates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from latchkey.credentials.idempotency import KEPT, Earlier, Once
from latchkey.credentials.models import Credential
from latchkey.credentials.publishing import Refusal
from latchkey.credentials.times import to_milliseconds
from latchkey.store.connections import Connections
from latchkey.store.finding import find_credential
from latchkey.store.tables import idempotency


class SqlIdempotencyLog:
    """The entries of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def prune(self, now: datetime) -> int:
        """Delete the entries that are no longer kept; returns how many."""
        old = delete(idempotency).where(idempotency.c.created_at <= to_milliseconds(now - KEPT))
        with self._connections.writing(upkeep=True) as connection:
            return connection.execute(old).rowcount


def require_first(
    connection: Connection,
    caller: Credential | None,
    once: Once | None,
    now: datetime,
    touched: Sequence[str] = (),
) -> None:
    """Raise a Refusal if the caller has made a request with the idempotency key before.

    Like the first request, it publishes the key that was made, and the lookup keys ``touched``: the
    process that made the key may have died before it published that.
    """
    if caller is None or once is None:
        return
    query = select(idempotency).where(
        idempotency.c.credential_id == caller.id, idempotency.c.key == once.key
    )
    row = connection.execute(query).one_or_none()
    if row is None or row.created_at <= to_milliseconds(now - KEPT):
        return
    made = find_credential(connection, row.api_key)
    lookups = [*touched] if made is None else [made.lookup, *touched]
    raise Refusal(Earlier(row.fingerprint, row.api_key).refusal_of(once), lookups)


def remember(
    connection: Connection, caller: Credential | None, once: Once | None, made: Credential
) -> None:
    """Record the key that a request made, in its transaction."""
    if caller is None or once is None:
        return
    entry = {"credential_id": caller.id, "key": once.key}
    # One that is no longer kept, and not pruned yet.
    connection.execute(delete(idempotency).filter_by(**entry))
    connection.execute(
        insert(idempotency),
        {
            **entry,
            "fingerprint": once.fingerprint,
            "api_key": made.api_key,
            "created_at": to_milliseconds(made.created_at),
        },
    )
