"""Imported credentials: stored in one transaction, and looked up by the hash of their token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select
from sqlalchemy.exc import IntegrityError

from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.models import NewCredential, Verifier
from latchkey.credentials.publishing import Made, Outcome, Publication, Refusal
from latchkey.credentials.times import to_milliseconds
from latchkey.errors import DuplicateApiKey
from latchkey.store.audit import SqlAuditLog
from latchkey.store.connections import Connections
from latchkey.store.finding import find_accounts, instance_account
from latchkey.store.invalidations import new_nonce
from latchkey.store.limits import add_many_limits
from latchkey.store.rows import values_of
from latchkey.store.tables import account, credential, invalidation
from latchkey.store.transactions import commit

_BATCH = 10_000
_ADDED_AT_ONCE = 10_000
_COLUMNS = [one.name for one in credential.c if one.name in NewCredential.__slots__]
_values = itemgetter(*_COLUMNS)
_LAST_ID = select(func.coalesce(func.max(credential.c.id), 0))
_LAST_LOG_ROW = select(func.coalesce(func.max(invalidation.c.id), 0))
_HASHES = select(credential.c.id, credential.c.secret_hash)


class SqlImportedCredentials:
    """The imported credentials of one database. Its methods raise StoreError when it fails."""

    def __init__(self, connections: Connections, audit: SqlAuditLog) -> None:
        self._connections = connections
        self._audit = audit

    def verifier(self, token_hash: bytes) -> Verifier | None:
        """The verifier of the imported credential whose token has this SHA-256, as of the call.

        None if there is no such credential.
        """
        return self._connections.lookup.imported_verifier(token_hash)

    def hashes(self) -> Iterator[bytes]:
        """The SHA-256 of each token, read in batches."""
        for row in self._read(_HASHES.where(credential.c.origin == "imported")):
            yield row.secret_hash

    def add_all(
        self,
        new: Sequence[NewCredential],
        left_out: Callable[[Collection[bytes]], Collection[bytes]],
        detail: dict[str, object],
        actor: Actor,
        progress: Callable[[int], None],
        *,
        confirm: Callable[[Mapping[str, Account]], None] = lambda accounts: None,
    ) -> Outcome[list[NewCredential]]:
        """Store them in one transaction, or none; see ``protocols.ImportedCredentials``.

        The audit log gets one row with ``detail``, the number of credentials and their ids.
        """
        # No other change is made during the transaction, and a revocation may be waiting. So
        # everything possible is done before it begins.
        there = list(self._read(_HASHES))
        last_seen = there[-1].id if there else 0
        try:
            early = left_out({row.secret_hash for row in there})
        except Refusal as refusal:
            return refusal.refused
        remaining = _without(new, early)
        made_before = [token_hash.hex() for token_hash in early]
        if not remaining:
            return Made(remaining, Publication(made_before))
        with self._connections.reading() as reading:
            instance = instance_account(reading).id
        limited = any(one.limits for one in remaining)
        prepared = None if limited else _rows_of(remaining, instance, {})
        named = {one.account_id for one in new if one.account_id is not None}

        def transaction(connection: Connection) -> Made[list[NewCredential]]:
            added, rows = remaining, prepared
            dialect = self._connections.dialect
            confirm({one.id: one for one in find_accounts(connection, account.c.id, named)})
            # Rows are never deleted, and hashes do not change: newer rows are enough.
            since = connection.execute(_HASHES.where(credential.c.id > last_seen))
            if late := left_out({row.secret_hash for row in since}):
                added = _without(remaining, late)
                rows = None
            lookups = [*made_before, *(token_hash.hex() for token_hash in late)]
            if not added:
                return Made(added, Publication(lookups))
            lookups += [one.lookup for one in added]
            if rows is None:
                limits = add_many_limits(connection, dialect, added)
                rows = _rows_of(added, instance, limits)
            before = connection.execute(_LAST_ID).scalar_one()
            last_row_before = connection.execute(_LAST_LOG_ROW).scalar_one()
            self._insert(connection, *rows, progress)
            # No other change adds rows meanwhile: all rows with larger ids are from this import.
            first_id = select(func.min(credential.c.id)).where(credential.c.id > before)
            ids = {
                "count": len(added),
                "first_id": connection.execute(first_id).scalar_one(),
                "last_id": connection.execute(_LAST_ID).scalar_one(),
            }
            logged = select(invalidation.c.id).where(invalidation.c.id > last_row_before)
            log_rows = connection.execute(logged.order_by(invalidation.c.id)).scalars().all()
            record = AuditEvent(
                added[0].created_at, Action.KEY_IMPORT, actor, None, {**detail, **ids}
            )
            head = self._audit.append(connection, record)
            return Made(added, Publication(lookups, log_rows, head))

        return commit(self._connections, transaction)

    def _read(self, query: Select[Any]) -> Iterator[Row[Any]]:
        """Rows of a query with an id, in its order, in batches of reads."""
        query = query.order_by(credential.c.id).limit(_BATCH)
        after = 0
        while True:
            with self._connections.reading() as connection:
                rows = connection.execute(query.where(credential.c.id > after)).all()
            yield from rows
            if len(rows) < _BATCH:
                return
            after = rows[-1].id

    def _insert(
        self,
        connection: Connection,
        rows: Sequence[tuple[object, ...]],
        notes: Sequence[tuple[str, int, int]],
        progress: Callable[[int], None],
    ) -> None:
        """Insert credentials, and a row of the log of invalidations for each."""
        insert_many = self._connections.dialect.insert_many
        try:
            for start in range(0, len(rows), _ADDED_AT_ONCE):
                end = start + _ADDED_AT_ONCE
                insert_many(connection, credential, _COLUMNS, rows[start:end])
                insert_many(connection, invalidation, ["lookup", "at", "nonce"], notes[start:end])
                progress(min(end, len(rows)) - start)
        except IntegrityError:
            raise DuplicateApiKey from None


def _without(new: Sequence[NewCredential], hashes: Collection[bytes]) -> list[NewCredential]:
    return [one for one in new if one.secret_hash not in hashes]


def _rows_of(
    new: Sequence[NewCredential], instance: str, limits: Mapping[str, str | None]
) -> tuple[list[tuple[object, ...]], list[tuple[str, int, int]]]:
    """The values to insert for each credential, and its row in the log of invalidations.

    ``instance`` is the id of the instance account, ``limits`` the text of limits by key.
    """
    rows = [
        _values(values_of(one, one.account_id or instance, limits.get(one.api_key))) for one in new
    ]
    notes = [(one.lookup, to_milliseconds(one.created_at), new_nonce()) for one in new]
    return rows, notes
