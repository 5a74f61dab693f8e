"""The store of administrators: every query about them, their sessions and the set-up link.

Each change adds the given record to the audit log in its own transaction, and returns the outcome
to publish.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from latchkey.credentials.administrators import Administrator, ConsoleSession
from latchkey.credentials.audit import AuditEvent
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.times import from_milliseconds, from_milliseconds_or_none, to_milliseconds
from latchkey.store.audit import SqlAuditLog
from latchkey.store.connections import Connections
from latchkey.store.tables import administrator, console_session, set_up_link
from latchkey.store.transactions import commit

_BATCH = 1_000
# Administrators and sessions both have a column ``created_at``.
_SESSIONS = select(
    console_session.c.token_hash,
    console_session.c.created_at.label("begun_at"),
    console_session.c.seen_at,
    console_session.c.messages,
    administrator,
).join(administrator, administrator.c.id == console_session.c.administrator_id)


class SqlAdministratorStore:
    """Administrators in the same database. Every method raises StoreError when it fails."""

    def __init__(self, connections: Connections, audit_log: SqlAuditLog) -> None:
        self._connections = connections
        self._audit = audit_log

    def by_name(self, limit: int | None = None) -> Iterator[Administrator]:
        """The administrators in the order of their names, in batches of reads; None is no limit."""
        query = select(administrator).order_by(administrator.c.name)
        after = ""
        while limit is None or limit > 0:
            size = _BATCH if limit is None else min(_BATCH, limit)
            batch = query.where(administrator.c.name > after).limit(size)
            with self._connections.reading() as connection:
                found = [_administrator(row) for row in connection.execute(batch)]
            yield from found
            if len(found) < size:
                return
            after = found[-1].name
            limit = None if limit is None else limit - size

    def count(self) -> int:
        """How many administrators there are."""
        with self._connections.reading() as connection:
            query = select(func.count()).select_from(administrator)
            return connection.execute(query).scalar_one()

    def find(self, name: str) -> Administrator | None:
        """The administrator of this name, disabled or not."""
        query = select(administrator).where(administrator.c.name == name)
        with self._connections.reading() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _administrator(row)

    def add(
        self, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Add an administrator; None if the name is taken."""
        return commit(
            self._connections,
            lambda connection: self._add(connection, name, password_hash, now, record),
        )

    def remove(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Remove an administrator and end the sessions; False if there is none."""
        removal = (
            delete(administrator).where(administrator.c.name == name).returning(administrator.c.id)
        )

        def transaction(connection: Connection) -> Made[bool]:
            found = connection.execute(removal).scalar_one_or_none()
            if found is None:
                return Made(False)
            _end_all(connection, found)
            return Made(True, self._recorded(connection, record))

        return commit(self._connections, transaction)

    def disable(self, name: str, now: datetime, record: AuditEvent) -> Outcome[bool]:
        """Disable an administrator and end the sessions; False if there is none."""
        return self._set_disabled(name, to_milliseconds(now), record)

    def enable(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Enable an administrator again; False if there is none."""
        return self._set_disabled(name, None, record)

    def set_password(
        self, administrator_id: int, password_hash: str, record: AuditEvent
    ) -> Outcome[bool]:
        """Replace a password and end the sessions; False if there is no such administrator."""
        change = (
            update(administrator)
            .where(administrator.c.id == administrator_id)
            .values(password_hash=password_hash)
        )

        def transaction(connection: Connection) -> Made[bool]:
            if not connection.execute(change).rowcount:
                return Made(False)
            _end_all(connection, administrator_id)
            return Made(True, self._recorded(connection, record))

        return commit(self._connections, transaction)

    def renew_hash(self, found: Administrator, password_hash: str) -> None:
        """Replace a hash by another of the same password, unless the password has changed since."""
        change = (
            update(administrator)
            .where(administrator.c.id == found.id)
            .where(administrator.c.password_hash == found.password_hash)
            .values(password_hash=password_hash)
        )
        with self._connections.writing() as connection:
            connection.execute(change)

    # ---- Sessions

    def begin_session(
        self,
        found: Administrator,
        token_hash: bytes,
        now: datetime,
        *,
        oldest: datetime,
        unseen: datetime,
        record: AuditEvent | None,
    ) -> Outcome[bool]:
        """Begin a session, and delete expired ones: begun or last seen before these times.

        False if the administrator was removed or disabled, or has a new password.
        """
        moment = to_milliseconds(now)
        signed_in = (
            update(administrator)
            .where(administrator.c.id == found.id)
            .where(administrator.c.disabled_at.is_(None))
            .where(administrator.c.password_hash == found.password_hash)
            .values(signed_in_at=moment)
        )
        ended = delete(console_session).where(
            (console_session.c.created_at <= to_milliseconds(oldest))
            | (console_session.c.seen_at <= to_milliseconds(unseen))
        )
        begun = insert(console_session).values(
            token_hash=token_hash,
            administrator_id=found.id,
            created_at=moment,
            seen_at=moment,
            messages="",
        )

        def transaction(connection: Connection) -> Made[bool]:
            if not connection.execute(signed_in).rowcount:
                return Made(False)
            connection.execute(ended)
            connection.execute(begun)
            if record is None:
                return Made(True)
            return Made(True, self._recorded(connection, record))

        return commit(self._connections, transaction)

    def session(self, token_hash: bytes) -> ConsoleSession | None:
        """The session with this hash, of an administrator who is not disabled."""
        query = _SESSIONS.where(
            console_session.c.token_hash == token_hash, administrator.c.disabled_at.is_(None)
        )
        with self._connections.reading() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _session(row)

    def sessions(self, administrator_id: int) -> list[ConsoleSession]:
        """The sessions of an administrator, including expired ones; newest first."""
        query = _SESSIONS.where(administrator.c.id == administrator_id)
        query = query.order_by(console_session.c.seen_at.desc())
        with self._connections.reading() as connection:
            return [_session(row) for row in connection.execute(query)]

    def see_session(self, token_hash: bytes, now: datetime) -> None:
        """Update the time at which a session was last used."""
        self._update_session(token_hash, seen_at=to_milliseconds(now))

    def tell(self, token_hash: bytes, messages: Sequence[tuple[str, str]]) -> None:
        """Set the messages that the next page of a session shows."""
        self._update_session(token_hash, messages=json.dumps(messages) if messages else "")

    def end_session(self, token_hash: bytes, record: AuditEvent) -> Outcome[None]:
        """End one session, if it has not ended."""
        ended = delete(console_session).where(console_session.c.token_hash == token_hash)

        def transaction(connection: Connection) -> Made[None]:
            if not connection.execute(ended).rowcount:
                return Made(None)
            return Made(None, self._recorded(connection, record))

        return commit(self._connections, transaction)

    def end_sessions(self, administrator_id: int, record: AuditEvent) -> Outcome[int]:
        """End every session of an administrator; returns their number."""

        def transaction(connection: Connection) -> Made[int]:
            ended = _end_all(connection, administrator_id)
            return Made(ended, self._recorded(connection, record))

        return commit(self._connections, transaction)

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Record an event that changes nothing else, such as a refused sign-in."""
        return self._audit.record(record)

    # ---- The set-up link

    def offer_set_up(self, token_hash: bytes, expires_at: datetime) -> bool:
        """Make this the only set-up link; False, without a change, if there is an administrator."""
        with self._connections.writing() as connection:
            connection.execute(delete(set_up_link))
            if _any(connection):
                return False
            connection.execute(
                insert(set_up_link).values(
                    token_hash=token_hash, expires_at=to_milliseconds(expires_at)
                )
            )
            return True

    def set_up_is_offered(self, token_hash: bytes, now: datetime) -> bool:
        """Whether this is the current set-up link and has not expired."""
        with self._connections.reading() as connection:
            return _is_offered(connection, token_hash, now)

    def set_up(
        self, token_hash: bytes, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Use up the set-up link to add the first administrator; None if it is not valid."""

        def transaction(connection: Connection) -> Made[Administrator | None]:
            if not _is_offered(connection, token_hash, now):
                return Made(None)
            connection.execute(delete(set_up_link))
            return self._add(connection, name, password_hash, now, record)

        return commit(self._connections, transaction)

    def _set_disabled(
        self, name: str, disabled_at: int | None, record: AuditEvent
    ) -> Outcome[bool]:
        change = (
            update(administrator)
            .where(administrator.c.name == name)
            .values(disabled_at=disabled_at)
            .returning(administrator.c.id)
        )

        def transaction(connection: Connection) -> Made[bool]:
            found = connection.execute(change).scalar_one_or_none()
            if found is None:
                return Made(False)
            if disabled_at is not None:
                _end_all(connection, found)
            return Made(True, self._recorded(connection, record))

        return commit(self._connections, transaction)

    def _update_session(self, token_hash: bytes, **values: object) -> None:
        change = (
            update(console_session)
            .where(console_session.c.token_hash == token_hash)
            .values(**values)
        )
        with self._connections.writing() as connection:
            connection.execute(change)

    def _add(
        self,
        connection: Connection,
        name: str,
        password_hash: str,
        now: datetime,
        record: AuditEvent,
    ) -> Made[Administrator | None]:
        # No other transaction can add one meanwhile.
        taken = select(administrator.c.id).where(administrator.c.name == name)
        if connection.execute(taken).one_or_none() is not None:
            return Made(None)
        new = insert(administrator).values(
            name=name, password_hash=password_hash, created_at=to_milliseconds(now)
        )
        made = connection.execute(new.returning(administrator)).one()
        return Made(_administrator(made), self._recorded(connection, record))

    def _recorded(self, connection: Connection, record: AuditEvent) -> Publication:
        """Add a row to the audit log, in the transaction; returns its publication."""
        return Publication(head=self._audit.append(connection, record))


def _any(connection: Connection) -> bool:
    return bool(connection.execute(select(exists(select(administrator.c.id)))).scalar_one())


def _is_offered(connection: Connection, token_hash: bytes, now: datetime) -> bool:
    query = select(set_up_link.c.token_hash).where(
        set_up_link.c.token_hash == token_hash, set_up_link.c.expires_at > to_milliseconds(now)
    )
    return connection.execute(query).one_or_none() is not None and not _any(connection)


def _end_all(connection: Connection, administrator_id: int) -> int:
    ended = delete(console_session).where(console_session.c.administrator_id == administrator_id)
    return connection.execute(ended).rowcount


def _session(row: Row[Any]) -> ConsoleSession:
    told = json.loads(row.messages) if row.messages else ()
    return ConsoleSession(
        token_hash=row.token_hash,
        administrator=_administrator(row),
        created_at=from_milliseconds(row.begun_at),
        seen_at=from_milliseconds(row.seen_at),
        messages=tuple((str(category), str(text)) for category, text in told),
    )


def _administrator(row: Row[Any]) -> Administrator:
    return Administrator(
        id=row.id,
        name=row.name,
        password_hash=row.password_hash,
        created_at=from_milliseconds(row.created_at),
        disabled_at=from_milliseconds_or_none(row.disabled_at),
        signed_in_at=from_milliseconds_or_none(row.signed_in_at),
    )
