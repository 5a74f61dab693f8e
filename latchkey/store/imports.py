"""Credentials that were imported: stored all at once, found by the hash of their token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from latchkey.credentials.audit import Action, Actor, Record
from latchkey.credentials.models import NewCredential, Verifier
from latchkey.credentials.publishing import Made, Outcome, Publication, Refusal
from latchkey.errors import DuplicateApiKey
from latchkey.store.audit import AuditLog
from latchkey.store.rows import to_milliseconds, values_of, verifier_of
from latchkey.store.sqlite.connections import Connections, translated
from latchkey.store.tables import credential, invalidation
from latchkey.store.transactions import commit

_BATCH = 10_000
_ADDED_AT_ONCE = 10_000
# Many rows at once go to the driver as they are: SQLAlchemy's care for each costs more than SQLite.
_COLUMNS = [one.name for one in credential.c if one.name in NewCredential.__slots__]
_ADD = str(insert(credential).compile(dialect=sqlite.dialect(), column_keys=_COLUMNS))
_NOTE = str(insert(invalidation).compile(dialect=sqlite.dialect(), column_keys=["lookup", "at"]))
_values = itemgetter(*_COLUMNS)
# In KiB, below zero as SQLite has it: pages of the indexes, which change in no order, are written
# once and not again and again.
_PAGES_HELD = "PRAGMA cache_size = -65536"
_HASHES = select(credential.c.id, credential.c.secret_hash)


class ImportedCredentials:
    """The imported ones of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections, audit: AuditLog) -> None:
        self._connections = connections
        self._audit = audit

    def verifier(self, token_hash: bytes) -> Verifier | None:
        """That of the imported credential whose token has this SHA-256, as committed at the call.

        None where there is none.
        """
        with translated:
            row = self._connections.lookup.imported_verifier_row(token_hash)
            return None if row is None else verifier_of(row)

    def hashes(self) -> Iterator[bytes]:
        """The SHA-256 of the token of each, in batches of reads."""
        for _, token_hash in self._read(_HASHES.where(credential.c.origin == "imported")):
            yield token_hash

    def add_all(
        self,
        new: Sequence[NewCredential],
        left_out: Callable[[Collection[bytes]], Collection[bytes]],
        detail: dict[str, object],
        actor: Actor,
        progress: Callable[[int], None],
    ) -> Outcome[list[NewCredential]]:
        """Store them in one transaction, or none; see the domain's ImportStore.

        The audit log gets one row: ``detail``, how many there are, and their ids.
        """
        # Nobody else changes anything during the transaction, and a revocation may be waiting:
        # all that does not need the lock is done before.
        there = list(self._read(_HASHES))
        last_seen = there[-1][0] if there else 0
        try:
            early = left_out({token_hash for _, token_hash in there})
        except Refusal as refusal:
            return refusal.refused
        remaining = _without(new, early)
        made_before = [token_hash.hex() for token_hash in early]
        if not remaining:
            return Made(remaining, Publication(made_before))
        prepared = _rows_of(remaining)

        def transaction(connection: Connection) -> Made[list[NewCredential]]:
            added, rows = remaining, prepared
            # Rows are never deleted, and a hash does not change: what came since is enough.
            since = connection.execute(_HASHES.where(credential.c.id > last_seen))
            if late := left_out({row[1] for row in since}):
                added = _without(remaining, late)
                rows = _rows_of(added)
            lookups = [*made_before, *(token_hash.hex() for token_hash in late)]
            if not added:
                return Made(added, Publication(lookups))
            lookups += [one.lookup for one in added]
            _add(connection, *rows, progress)
            # AUTOINCREMENT, and nobody else writes meanwhile: the last so many are these.
            last_id = connection.execute(select(func.max(credential.c.id))).scalar_one()
            last = connection.execute(select(func.max(invalidation.c.id))).scalar_one()
            ids = {"count": len(added), "first_id": last_id - len(added) + 1, "last_id": last_id}
            record = Record(added[0].created_at, Action.KEY_IMPORT, actor, None, {**detail, **ids})
            head = self._audit.append(connection, record)
            return Made(added, Publication(lookups, range(last - len(added) + 1, last + 1), head))

        return commit(self._connections, transaction)

    def _read(self, query: Select[Any]) -> Iterator[tuple[int, bytes]]:
        """Rows of a query with the id first, in its order, in batches of reads."""
        query = query.order_by(credential.c.id).limit(_BATCH)
        after = 0
        while True:
            with self._connections.reading() as connection:
                rows = connection.execute(query.where(credential.c.id > after)).all()
            yield from map(tuple, rows)
            if len(rows) < _BATCH:
                return
            after = rows[-1][0]


def _without(new: Sequence[NewCredential], hashes: Collection[bytes]) -> list[NewCredential]:
    return [one for one in new if one.secret_hash not in hashes]


def _rows_of(
    new: Sequence[NewCredential],
) -> tuple[list[tuple[object, ...]], list[tuple[str, int]]]:
    """What is inserted for each: its values, and its row of the log of invalidations."""
    rows = [_values(values_of(one)) for one in new]
    return rows, [(one.lookup, to_milliseconds(one.created_at)) for one in new]


def _add(
    connection: Connection,
    rows: Sequence[tuple[object, ...]],
    notes: Sequence[tuple[str, int]],
    progress: Callable[[int], None],
) -> None:
    """Insert credentials, and a row of the log of invalidations for each."""
    connection.exec_driver_sql(_PAGES_HELD)
    try:
        for start in range(0, len(rows), _ADDED_AT_ONCE):
            end = start + _ADDED_AT_ONCE
            connection.exec_driver_sql(_ADD, list(rows[start:end]))
            connection.exec_driver_sql(_NOTE, list(notes[start:end]))
            progress(min(end, len(rows)) - start)
    except IntegrityError:
        raise DuplicateApiKey from None
