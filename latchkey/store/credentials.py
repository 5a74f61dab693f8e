"""The store of credentials: every query about them, answered in the domain's models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from latchkey.credentials.audit import Action, AuditEvent
from latchkey.credentials.caller_rights import require_within_caller
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import conditions_text
from latchkey.credentials.limit_records import renew_limits, store_limits
from latchkey.credentials.limits import SharedLimits, StoredLimit, stored_limits_text
from latchkey.credentials.models import (
    Change,
    Credential,
    Mode,
    NewCredential,
    Rotation,
    Verifier,
)
from latchkey.credentials.publishing import Made, Outcome, Publication, Refusal
from latchkey.credentials.times import to_milliseconds, to_milliseconds_or_none
from latchkey.errors import DuplicateApiKey
from latchkey.store.accounts import SqlAccountStore
from latchkey.store.administrators import SqlAdministratorStore
from latchkey.store.audit import SqlAuditLog
from latchkey.store.audit_head import Seal
from latchkey.store.audited_terms import difference, terms_of
from latchkey.store.connections import Connections
from latchkey.store.finding import (
    CREDENTIALS,
    account_for,
    caller_now,
    changeable_credential,
    find_credential,
)
from latchkey.store.idempotency import SqlIdempotencyLog, remember, require_first
from latchkey.store.imports import SqlImportedCredentials
from latchkey.store.invalidations import SqlInvalidationLog, log_invalidation
from latchkey.store.limits import SqlLimitRecords, SqlLimitStore
from latchkey.store.listing import SqlListing
from latchkey.store.protocols import BoxStore
from latchkey.store.rows import (
    credential_of,
    joined_credential_of,
    scopes_text,
    shared_limits_of,
    values_of,
)
from latchkey.store.tables import credential
from latchkey.store.transactions import commit
from latchkey.store.usage import SqlUsageStore


class SqlStore:
    """A store in SQL; see ``latchkey.store.protocols.Store``."""

    def __init__(
        self, connections: Connections, seal: Seal | None, boxes: BoxStore | None = None
    ) -> None:
        """No connection is opened yet. Without ``seal``, audited changes fail.

        ``boxes`` are those that share the database; None if only one box can use it.
        """
        self._connections = connections
        self.boxes = boxes
        self.places = connections.places
        self.invalidations = SqlInvalidationLog(self._connections)
        self.idempotency = SqlIdempotencyLog(self._connections)
        self.usage = SqlUsageStore(self._connections)
        self.limits = SqlLimitStore(self._connections)
        self.listing = SqlListing(self._connections)
        self.audit = SqlAuditLog(self._connections, seal)
        self.administrators = SqlAdministratorStore(self._connections, self.audit)
        self.accounts = SqlAccountStore(self._connections, self.audit)
        self.imported = SqlImportedCredentials(self._connections, self.audit)

    @property
    def connections(self) -> Connections:
        """The connections, for work on the whole database."""
        return self._connections

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, as committed when the call began or later."""
        with self._connections.reading() as connection:
            return find_credential(connection, api_key)

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key, read as by ``find``."""
        return self._connections.lookup.verifier(api_key)

    def page(
        self, mode: Mode | None, limit: int, before: int | None, account_id: str | None = None
    ) -> list[Credential]:
        """At most ``limit`` credentials of ``mode`` (None: both), newest first.

        ``before`` continues a listing: only rows with smaller ids. ``account_id`` selects those of
        one account.
        """
        query = CREDENTIALS.order_by(credential.c.id.desc()).limit(limit)
        if account_id is not None:
            query = query.where(credential.c.account_id == account_id)
        if mode is not None:
            query = query.where(credential.c.mode == mode)
        if before is not None:
            query = query.where(credential.c.id < before)
        with self._connections.reading() as connection:
            return [joined_credential_of(row) for row in connection.execute(query)]

    def add(
        self,
        decide: Callable[[Credential | None], NewCredential],
        action: Action,
        author: Author,
    ) -> Outcome[Credential]:
        """Store the credential that ``decide`` returns, durably when this method returns.

        Refused with DuplicateApiKey if the key exists, revoked or not.
        """

        def transaction(connection: Connection) -> Made[Credential]:
            caller = caller_now(connection, author)
            new = decide(caller)
            require_first(connection, caller, author.once, new.created_at)
            added = _add(connection, new)
            remember(connection, caller, author.once, added)
            rows = [log_invalidation(connection, added.lookup, new.created_at)]
            record = AuditEvent(
                new.created_at, action, author.actor, added.api_key, terms_of(added)
            )
            return self._made(connection, added, [added.lookup], rows, record)

        return commit(self._connections, transaction)

    def revoke(self, api_key: str, now: datetime, author: Author) -> Outcome[Credential]:
        """Mark a credential as revoked at ``now``."""

        def transaction(connection: Connection) -> Made[Credential]:
            caller = caller_now(connection, author)
            found = changeable_credential(connection, api_key, author.reach(caller))
            values: dict[str, object] = {"revoked_at": to_milliseconds(now)}
            revoked = _update(connection, found, values, found.shared_limits)
            rows = [log_invalidation(connection, found.lookup, now)]
            record = AuditEvent(now, Action.KEY_REVOKE, author.actor, api_key)
            return self._made(connection, revoked, [found.lookup], rows, record)

        return commit(self._connections, transaction)

    def change(
        self,
        api_key: str,
        now: datetime,
        decide: Callable[[Credential | None, Credential], Change],
        author: Author,
    ) -> Outcome[Credential]:
        """Give an unrevoked credential the terms that ``decide`` returns."""

        def transaction(connection: Connection) -> Made[Credential]:
            caller = caller_now(connection, author)
            found = changeable_credential(connection, api_key, author.reach(caller))
            change = decide(caller, found)
            values: dict[str, object] = {}
            if change.name is not None:
                values["name"] = change.name
            if change.scopes is not None:
                values["scopes"] = scopes_text(change.scopes)
            if change.sets_expiry:
                values["expires_at"] = to_milliseconds_or_none(change.expires_at)
            if change.conditions:
                conditions = change.conditions_after(found.conditions)
                values["conditions"] = conditions_text(conditions)
            if change.metadata is not None:
                values["metadata"] = change.metadata_after(found.metadata)
            limits = _limits_after(connection, found, change, now)
            values["limits"] = stored_limits_text(limits.own)
            values["limits_of"] = limits.shared and limits.shared.credential_id
            changed = _update(connection, found, values, limits.shared)
            # The keys with which it shares its limits belong to its account.
            lookups = [found.lookup, *([found.account_id] if limits.concern_others else [])]
            rows = [log_invalidation(connection, lookup, now) for lookup in lookups]
            detail = difference(found, changed)
            if change.renewed:
                detail["renewed"] = sorted(change.renewed)
            record = AuditEvent(now, Action.KEY_CHANGE, author.actor, api_key, detail)
            return self._made(connection, changed, lookups, rows, record)

        return commit(self._connections, transaction)

    def rotate(
        self,
        api_key: str,
        now: datetime,
        decide: Callable[[Credential | None, Credential, Credential | None], Rotation],
        author: Author,
    ) -> Outcome[Credential]:
        """Replace an unrevoked credential; returns the successor.

        The successor and the new expiry of the old key are committed together.
        """

        def transaction(connection: Connection) -> Made[Credential]:
            caller = caller_now(connection, author)
            found = changeable_credential(connection, api_key, author.reach(caller))
            require_within_caller(found, caller)
            require_first(connection, caller, author.once, now, [found.lookup])
            former = (
                None if found.rotated_to is None else find_credential(connection, found.rotated_to)
            )
            rotation = decide(caller, found, former)
            successor = _add(connection, rotation.successor)
            remember(connection, caller, author.once, successor)
            values: dict[str, object] = {
                "expires_at": to_milliseconds_or_none(rotation.expires_at),
                "rotated_to": successor.api_key,
            }
            if found.rotated_to is None:
                values["original_expires_at"] = to_milliseconds_or_none(found.expires_at)
            changed = _update(connection, found, values, found.shared_limits)
            lookups = [successor.lookup, found.lookup]
            rows = [log_invalidation(connection, lookup, now) for lookup in lookups]
            detail = {**difference(found, changed), "successor": successor.api_key}
            record = AuditEvent(now, Action.KEY_ROTATE, author.actor, api_key, detail)
            return self._made(connection, successor, lookups, rows, record)

        return commit(self._connections, transaction)

    def count(self, mode: Mode) -> int:
        """How many credentials of ``mode`` there are, revoked ones included."""
        query = select(func.count()).select_from(credential).where(credential.c.mode == mode)
        with self._connections.reading() as connection:
            return connection.execute(query).scalar_one()

    def check(self) -> None:
        """Run a query on the credentials table; raises StoreError if it fails."""
        with self._connections.reading() as connection:
            connection.execute(select(credential.c.id).limit(1)).all()

    def scrub(self) -> str | None:
        """Rewrite the database, so that no deleted text is left in it; raises StoreError."""
        return self._connections.scrub()

    def look_after(self) -> None:
        """Check the files of the database, and write a head of the audit log that was postponed.

        Raises StoreError if the files have a fault that cannot be repaired.
        """
        self._connections.look_after()
        self.audit.catch_up()

    def close(self) -> None:
        """Close the connections, which must be idle; later calls open new ones."""
        self._connections.close()

    def _made(
        self,
        connection: Connection,
        result: Credential,
        lookups: Sequence[str],
        rows: Sequence[int],
        record: AuditEvent,
    ) -> Made[Credential]:
        """End a transaction: add its row to the audit log; returns the outcome to publish."""
        head = self.audit.append(connection, record)
        return Made(result, Publication(lookups, rows, head))


def _add(connection: Connection, new: NewCredential) -> Credential:
    account = account_for(connection, new.account_id)
    added = insert(credential).returning(credential)
    shared = None if new.limits_of is None else _shared(connection, new.limits_of)
    limits = store_limits(SqlLimitRecords(connection), new.api_key, "", new.limits, new.created_at)
    try:
        values = values_of(new, account.id, stored_limits_text(limits))
        row = connection.execute(added, values).one()
    except IntegrityError:
        raise Refusal(DuplicateApiKey(), [new.lookup]) from None
    return credential_of(row, account, shared)


class _Limits(NamedTuple):
    """The limits of a credential after a change; ``concern_others``: other keys share them."""

    own: tuple[StoredLimit, ...]
    shared: SharedLimits | None
    concern_others: bool


def _limits_after(
    connection: Connection, found: Credential, change: Change, now: datetime
) -> _Limits:
    """Change the limits of a credential; the caller stores which they are."""
    shared = found.shared_limits
    records = SqlLimitRecords(connection)
    if change.limits is not None:
        renews = not change.keeps_totals
        own = store_limits(records, found.api_key, "", change.limits, now, renews_totals=renews)
        return _Limits(own, None, _is_shared(connection, found.id))
    if not change.renewed:
        return _Limits(found.limits, shared, False)
    if shared is None:
        own = renew_limits(records, found.limits, change.renewed, now)
        return _Limits(own, None, _is_shared(connection, found.id))
    renewed = renew_limits(records, shared.limits, change.renewed, now)
    sharing = update(credential).where(credential.c.id == shared.credential_id)
    connection.execute(sharing.values(limits=stored_limits_text(renewed)))
    return _Limits(found.limits, shared._replace(limits=renewed), True)


def _is_shared(connection: Connection, number: int) -> bool:
    """Whether other credentials share the limits of the one with this number."""
    others = select(credential.c.id).where(credential.c.limits_of == number).limit(1)
    return connection.execute(others).first() is not None


def _shared(connection: Connection, number: int) -> SharedLimits:
    query = select(credential.c.api_key, credential.c.limits).where(credential.c.id == number)
    row = connection.execute(query).one()
    return shared_limits_of(number, row.api_key, row.limits)


def _update(
    connection: Connection,
    found: Credential,
    values: dict[str, object],
    shared: SharedLimits | None,
) -> Credential:
    """Write new values of a credential, and return it with the limits that it then shares."""
    if not values:
        return replace(found, shared_limits=shared)
    change = update(credential).where(credential.c.id == found.id).values(**values)
    row = connection.execute(change.returning(credential)).one()
    return credential_of(row, found.account, shared)
