"""The store of credentials: every query about them, answered in the domain's models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from latchkey.credentials.audit import Head, Record, Trail
from latchkey.credentials.models import (
    Change,
    Credential,
    Mode,
    NewCredential,
    Rotation,
    Verifier,
)
from latchkey.errors import AlreadyRotated, DuplicateApiKey, KeyExpired
from latchkey.store.administrators import AdministratorStore
from latchkey.store.audit import AuditLog
from latchkey.store.audit_head import Seal
from latchkey.store.audited_terms import difference, terms_of
from latchkey.store.imports import ImportedCredentials
from latchkey.store.invalidations import InvalidationLog, log_invalidation
from latchkey.store.listing import Listing
from latchkey.store.rows import (
    credential_of,
    scopes_text,
    to_milliseconds,
    to_milliseconds_or_none,
    values_of,
    verifier_of,
)
from latchkey.store.sqlite.connections import Connections, translated
from latchkey.store.tables import credential
from latchkey.store.usage import UsageStore

_FIND = select(credential).where(credential.c.api_key == bindparam("api_key"))


class Store:
    """Credentials in one database. Safe to use from many threads; not across a fork.

    Every method raises StoreError when the database fails, whatever the reason; the fault is
    never remembered, so the next call tries again. ``usage`` keeps what the use of credentials
    comes to, ``listing`` finds and sorts them for a person, ``administrators`` who may sign in to
    the console. Every change of a credential adds rows to ``invalidations`` and to ``audit`` in its
    own transaction, and says in its trail which.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        lookup_timeout: float = 1.0,
        write_timeout: float = 10.0,
        change_places: int | None = None,
        seal: Seal | None = None,
    ) -> None:
        """Open nothing yet. The timeouts, in seconds, bound the wait for another's lock.

        ``change_places`` is how many threads may change something at once, further ones get
        ChangesBusy; None is any number. Without ``seal`` no credential or administrator is changed:
        the audit log cannot be written.
        """
        self._connections = Connections(
            url,
            pool_size=pool_size,
            lookup_timeout=lookup_timeout,
            write_timeout=write_timeout,
            change_places=change_places,
        )
        self.invalidations = InvalidationLog(self._connections)
        self.usage = UsageStore(self._connections)
        self.listing = Listing(self._connections)
        self.audit = AuditLog(self._connections, seal)
        self.administrators = AdministratorStore(self._connections, self.audit)
        self.imported = ImportedCredentials(self._connections, self.audit)

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, as committed when the call began or later."""
        with translated:
            row = self._connections.lookup.row(api_key)
            return None if row is None else credential_of(row)

    def verifier(self, api_key: str) -> Verifier | None:
        """What to check a secret of this key against, read as ``find`` reads."""
        with translated:
            row = self._connections.lookup.verifier_row(api_key)
            return None if row is None else verifier_of(row)

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials of ``mode`` (None: both), newest first.

        ``before`` continues a listing: only rows with smaller ids.
        """
        query = select(credential).order_by(credential.c.id.desc()).limit(limit)
        if mode is not None:
            query = query.where(credential.c.mode == mode)
        if before is not None:
            query = query.where(credential.c.id < before)
        with self._connections.reading() as connection:
            return [credential_of(row) for row in connection.execute(query)]

    def add(self, new: NewCredential, trail: Trail) -> Credential:
        """Store a new credential; when it returns, it survives a power cut.

        Raises DuplicateApiKey if the key exists, revoked or not.
        """
        with self._connections.writing(trail.commits) as connection:
            added = self._add(connection, new, trail)
            self._record(connection, trail, new.created_at, added.api_key, terms_of(added))
            return added

    def revoke(self, api_key: str, mode: Mode | None, now: datetime, trail: Trail) -> bool:
        """Mark a credential as revoked at ``now``; False if none of ``mode`` is there to revoke."""
        with self._connections.writing(trail.commits) as connection:
            found = _changeable(connection, api_key, mode, trail)
            if found is None:
                return False
            _update(connection, found, {"revoked_at": to_milliseconds(now)}, now, trail)
            self._record(connection, trail, now, api_key, {})
            return True

    def change(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Credential], Change],
        trail: Trail,
    ) -> Credential | None:
        """Give an unrevoked credential of ``mode`` new terms; None if there is none.

        ``decide`` is called within the transaction with the credential as it is, and says what
        becomes of it; what it raises leaves everything as it was.
        """
        with self._connections.writing(trail.commits) as connection:
            found = _changeable(connection, api_key, mode, trail)
            if found is None:
                return None
            change = decide(found)
            values: dict[str, object] = {}
            if change.name is not None:
                values["name"] = change.name
            if change.scopes is not None:
                values["scopes"] = scopes_text(change.scopes)
            if change.sets_expiry:
                values["expires_at"] = to_milliseconds_or_none(change.expires_at)
            changed = _update(connection, found, values, now, trail)
            self._record(connection, trail, now, api_key, difference(found, changed))
            return changed

    def rotate(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Credential, Credential | None], Rotation],
        trail: Trail,
    ) -> Credential | None:
        """Replace an unrevoked credential of ``mode`` by a successor; None if there is none.

        ``decide`` is called within the transaction with the credential and the successor that it
        has already, if any; what it raises leaves everything as it was. The answer is the new
        successor, which survives a power cut as the old one's new end does.
        """
        with self._connections.writing(trail.commits) as connection:
            found = _changeable(connection, api_key, mode, trail)
            if found is None:
                return None
            former = None if found.rotated_to is None else _find(connection, found.rotated_to)
            try:
                rotation = decide(found, former)
            except (AlreadyRotated, KeyExpired):
                trail.made_before.append(found.lookup)
                raise
            successor = self._add(connection, rotation.successor, trail)
            values: dict[str, object] = {
                "expires_at": to_milliseconds_or_none(rotation.expires_at),
                "rotated_to": successor.api_key,
            }
            if found.rotated_to is None:
                values["original_expires_at"] = to_milliseconds_or_none(found.expires_at)
            changed = _update(connection, found, values, now, trail)
            detail = {**difference(found, changed), "successor": successor.api_key}
            self._record(connection, trail, now, api_key, detail)
            return successor

    def keep_head(self, head: Head | None) -> None:
        """Note outside the database how far the audit log goes; after the commit."""
        self.audit.keep(head)

    def count(self, mode: Mode) -> int:
        """How many credentials of ``mode`` there are, revoked ones included."""
        query = select(func.count()).select_from(credential).where(credential.c.mode == mode)
        with self._connections.reading() as connection:
            return connection.execute(query).scalar_one()

    def check(self) -> None:
        """Read from the credentials table, really; raises StoreError if that fails."""
        with self._connections.reading() as connection:
            connection.execute(select(credential.c.id).limit(1)).all()

    def look_after(self) -> None:
        """Watch the files of the database, and keep a head of the audit log that had to wait.

        Raises StoreError where the files are not as they should be.
        """
        self._connections.look_after()
        self.audit.catch_up()

    def close(self) -> None:
        """Close the connections, all idle by now; the store opens new ones if it is used again."""
        self._connections.close()

    def _add(self, connection: Connection, new: NewCredential, trail: Trail) -> Credential:
        try:
            row = connection.execute(insert(credential).returning(credential), values_of(new)).one()
        except IntegrityError:
            trail.made_before.append(new.lookup)
            raise DuplicateApiKey from None
        _log(connection, new.lookup, new.created_at, trail)
        return credential_of(row)

    def _record(
        self,
        connection: Connection,
        trail: Trail,
        now: datetime,
        subject: str,
        detail: dict[str, object],
    ) -> None:
        record = Record(now, trail.action, trail.actor, subject, detail)
        trail.head = self.audit.append(connection, record)


def _find(connection: Connection, api_key: str) -> Credential | None:
    row = connection.execute(_FIND, {"api_key": api_key}).one_or_none()
    return None if row is None else credential_of(row)


def _changeable(
    connection: Connection, api_key: str, mode: Mode | None, trail: Trail
) -> Credential | None:
    found = _find(connection, api_key)
    if found is None or mode not in (None, found.mode):
        return None
    if found.revoked_at is not None:
        # The process that revoked it may have died before it invalidated.
        trail.made_before.append(found.lookup)
        return None
    return found


def _update(
    connection: Connection,
    found: Credential,
    values: dict[str, object],
    now: datetime,
    trail: Trail,
) -> Credential:
    """Write new values of a credential and log the invalidation, also where nothing differs."""
    _log(connection, found.lookup, now, trail)
    if not values:
        return found
    change = update(credential).where(credential.c.id == found.id).values(**values)
    return credential_of(connection.execute(change.returning(credential)).one())


def _log(connection: Connection, lookup: str, now: datetime, trail: Trail) -> None:
    trail.lookups.append(lookup)
    trail.invalidations.append(log_invalidation(connection, lookup, now))
