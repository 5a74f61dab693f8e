"""The audit log: append-only rows, each written in the transaction of its change.

Rows are numbered without gaps: the number is read in that transaction, and changes take turns. A
store without a seal can read the log, but cannot make changes that the log records. Altered rows
are read without an error, so that verification can report them and changes continue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, or_, select

from latchkey.credentials.audit import (
    ALL_ROWS,
    NO_ROWS,
    Action,
    Actor,
    AuditEvent,
    AuditFilter,
    AuditRow,
    Head,
)
from latchkey.credentials.audit_check import Verification, heads, is_genuine
from latchkey.credentials.audit_encoding import blob_of
from latchkey.credentials.audit_erasure import Bounds
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.times import to_milliseconds
from latchkey.errors import StoreError
from latchkey.store.audit_births import births_of
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.audit_rechain import rechain, rechaining_event
from latchkey.store.audit_removal import (
    erase_addresses,
    erase_details,
    erase_expired,
    expired_rows,
    is_recorded,
)
from latchkey.store.batches import newest_first
from latchkey.store.connections import Connections, SqlDialect
from latchkey.store.kept_head import KeptHead
from latchkey.store.tables import audit
from latchkey.store.transactions import commit

_BATCH = 1_000
_LARGEST_NUMBER = 2**63 - 1
_LAST = select(audit.c.number, audit.c.mac).order_by(audit.c.number.desc()).limit(1)
_FORMER_ROWS = select(
    select(audit.c.number).where(audit.c.detail_digest.is_(None), audit.c.number > 0).exists()
)
_next = audit.alias("next")
# Rows may have been inserted up to the largest number. Take the last row that no row follows, so
# that changes continue; verification reports the gap.
_LAST_FOLLOWED_BY_NONE = _LAST.where(
    audit.c.number < _LARGEST_NUMBER,
    ~select(_next.c.number).where(_next.c.number == audit.c.number + 1).exists(),
)


def filtered(query: Select[Any], wanted: AuditFilter, dialect: SqlDialect) -> Select[Any]:
    """A query of the table, with the conditions of the filter."""
    if wanted.subject is not None:
        made = audit.c.number.in_(births_of(wanted.subject, dialect))
        query = query.where((audit.c.subject == wanted.subject) | made)
    if wanted.actor is not None:
        query = query.where((audit.c.actor == wanted.actor) | (audit.c.actor_kind == wanted.actor))
    if wanted.action is not None:
        query = query.where(audit.c.action == wanted.action)
    if wanted.since is not None:
        query = query.where(audit.c.at >= to_milliseconds(wanted.since))
    return query


class SqlAuditLog:
    """The log of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections, seal: Seal | None) -> None:
        self._connections = connections
        self._dialect = connections.dialect
        self._seal = seal
        self._kept = KeptHead(seal, connections.places, self._has)
        # Whether no row of version 0.2 has to be re-chained any more.
        self._is_rechained = False

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Record an event that changes nothing else in the database."""
        return commit(
            self._connections,
            lambda connection: Made(None, Publication(head=self.append(connection, record))),
        )

    def record_new_end(self, decide: Callable[[], AuditEvent]) -> Outcome[Head]:
        """Add a row after an end of the log that differs from the kept head.

        ``decide`` is called in the transaction, so no row is added meanwhile. The new head replaces
        the kept one.
        """

        def transaction(connection: Connection) -> Made[Head]:
            head = self.append(connection, decide())
            return Made(head, Publication(head=head, replaces_head=True))

        return commit(self._connections, transaction)

    def append(self, connection: Connection, record: AuditEvent) -> Head:
        """Add a row in the transaction of a change; the head to publish."""
        if (former := self._former_head()) is not None:
            self._rechain(connection, former)
        return self._append(connection, record)

    def rechain(self, *, detached: bool = False, unverified: str = "") -> Outcome[int]:
        """Give rows of version 0.2 digests, and all rows new MACs; returns the number of rows.

        A row records it, with what a verification found before. Nothing is done unless the head
        file is of that version and was written with the key, or ``detached`` says that it belongs
        to another state of the log, or ``unverified`` why the rows cannot be verified.
        """

        def transaction(connection: Connection) -> Made[int]:
            if detached or unverified:
                return Made(self._rechain(connection, None, unverified))
            former = self._former_head()
            if former is None:
                return Made(0)
            made = self._rechain(connection, former)
            # Also if nothing was left to do: a process may have died before it wrote the head.
            return Made(made, Publication(head=self.last_of(connection)))

        return commit(self._connections, transaction)

    def _former_head(self) -> Head | None:
        """The kept head, if version 0.2 wrote it with the key of this log."""
        if self._seal is None:
            raise StoreError("a change needs the key of the audit log")
        if self._is_rechained:
            return None
        try:
            head = self._seal.head.read()
        except HeadUnusable:
            # Nothing shows that the key is that of the log. The start and the publication of the
            # change log the fault, and `latchkey audit accept` repairs it.
            return None
        self._is_rechained = not head.is_former
        return head if head.is_former else None

    def _rechain(self, connection: Connection, head: Head | None, unverified: str = "") -> int:
        if self._seal is None:
            raise StoreError("re-chaining needs the key of the audit log")
        if not connection.execute(_FORMER_ROWS).scalar_one():
            return 0
        done = rechain(connection, self._seal.key, self.entries(), head)
        self._append(connection, rechaining_event(done, head, unverified))
        return done.rows

    def _append(self, connection: Connection, record: AuditEvent) -> Head:
        if self._seal is None:
            raise StoreError("a change needs the key of the audit log")
        last = self.last_of(connection)
        actor = record.actor
        entry = AuditRow(
            number=last.number + 1,
            at=to_milliseconds(record.at),
            action=record.action.value,
            actor_kind=actor.kind.value,
            actor=actor.name,
            address=actor.address,
            subject=record.subject,
            detail=record.detail_text,
            mac="",
        )
        entry = entry.with_digests()
        entry = replace(entry, mac=self._seal.key.mac(last.mac, entry.fields))
        connection.execute(insert(audit), asdict(entry))
        return Head(entry.number, entry.mac)

    def expire(self, bounds: Bounds, now: datetime, after: int = 0) -> Outcome[int | None]:
        """Erase expired values of a bounded number of rows after the number ``after``.

        Returns the number to continue after, None at the end. The first call with these bounds that
        erases anything adds a row that records them.
        """
        with self._connections.reading() as connection:
            numbers = expired_rows(connection, bounds, after)
        if not numbers:
            return Made(None)

        def transaction(connection: Connection) -> Made[int | None]:
            event = AuditEvent(now, Action.AUDIT_EXPIRE, Actor.service(), detail=bounds.detail)
            publication = Publication()
            if not is_recorded(connection, event.detail_text, numbers[-1]):
                publication = Publication(head=self.append(connection, event))
            erase_expired(connection, bounds, self._dialect.one_of(audit.c.number, numbers))
            return Made(numbers[-1], publication)

        return commit(self._connections, transaction)

    def erase(
        self, connection: Connection, account_id: str, keys: Select[tuple[str]]
    ) -> tuple[list[int], list[int]]:
        """Erase the addresses and the details of rows about an account or one of its keys.

        Also the addresses of rows that the keys caused. Returns the numbers of the rows whose
        address, and of those whose detail was erased, for the caller to record.
        """
        if (former := self._former_head()) is not None:
            self._rechain(connection, former)
        if connection.execute(_FORMER_ROWS).scalar_one():
            raise StoreError(
                "rows of the audit log are not re-chained, because its head file is not usable; "
                "run: latchkey audit accept"
            )
        about = or_(audit.c.subject == account_id, audit.c.subject.in_(keys))
        addresses = erase_addresses(connection, or_(about, audit.c.actor.in_(keys)))
        return addresses, erase_details(connection, about)

    def keep(self, head: Head) -> None:
        """Make the commit secure, and keep its head; a failure is logged."""
        self._connections.secure()
        self._kept.keep(head)

    def replace(self, head: Head) -> None:
        """Make the commit secure, and replace the kept head by its own; raises HeadUnusable."""
        self._connections.secure()
        self._kept.write(head)

    def catch_up(self) -> None:
        """Write the head whose write was postponed, if there is one."""
        self._kept.catch_up()

    def behind_head(self) -> str | None:
        """Describe the fault if the log lacks the row that the head names, else None."""
        return self._kept.ahead_of_log()

    def verify(self) -> Verification:
        """Verify the whole log with the key, and its end with the head file."""
        return self._kept.verify(self.entries)

    def last(self) -> Head:
        """The last row as it is stored."""
        with self._connections.reading() as connection:
            return self.last_of(connection)

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRow]:
        """At most ``limit`` rows with numbers below ``before``, the newest first, to be shown."""
        query = self._filtered(select(audit), wanted).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.number < before)
        with self._connections.reading() as connection, self._dialect.as_stored(connection):
            return [_entry(row).readable for row in connection.execute(query)]

    def newest(self, wanted: AuditFilter, limit: int | None) -> Iterator[AuditRow]:
        """The selected rows, newest first, read in batches; None is no limit."""
        return newest_first(partial(self.page, wanted), lambda row: row.number, limit)

    def count(self, wanted: AuditFilter) -> int:
        """The number of selected rows."""
        query = self._filtered(select(func.count()).select_from(audit), wanted)
        with self._connections.reading() as connection:
            number: int = connection.execute(query).scalar_one()
        return number

    def entries(self, wanted: AuditFilter = ALL_ROWS) -> Iterator[AuditRow]:
        """Every row, oldest first, including rows that are added meanwhile."""
        after = None
        while True:
            with self._connections.reading() as connection:
                rows = _after(connection, self._dialect, after, wanted)
            yield from rows
            if len(rows) < _BATCH:
                return
            after = rows[-1].number

    def _has(self, head: Head) -> bool:
        query = select(audit.c.mac).where(audit.c.number == head.number)
        with self._connections.reading() as connection, self._dialect.as_stored(connection):
            if connection.execute(query).scalar_one_or_none() == head.mac:
                return True
        return head.is_former and self._was_rechained(head)

    def _was_rechained(self, head: Head) -> bool:
        """Whether a genuine row records that this head was replaced by a re-chaining."""
        if self._seal is None:
            return False
        for entry in self.entries(AuditFilter(action=Action.AUDIT_RECHAIN.value)):
            query = select(audit.c.mac).where(audit.c.number == entry.number - 1)
            with self._connections.reading() as connection, self._dialect.as_stored(connection):
                previous = connection.execute(query).scalar_one_or_none()
            if previous is not None and is_genuine(self._seal.key, previous, entry):
                if head in heads(json.loads(entry.detail)):
                    return True
        return False

    def last_of(self, connection: Connection) -> Head:
        """The last row as the transaction of the connection sees it."""
        with self._dialect.as_stored(connection):
            row = connection.execute(_LAST).one_or_none()
            if row is not None and row.number == _LARGEST_NUMBER:
                row = connection.execute(_LAST_FOLLOWED_BY_NONE).one_or_none()
        return NO_ROWS if row is None else Head(_stored(row.number), _stored(row.mac))

    def _filtered(self, query: Select[Any], wanted: AuditFilter) -> Select[Any]:
        return filtered(query, wanted, self._dialect)


def stored_rows(connection: Connection, dialect: SqlDialect) -> Iterator[AuditRow]:
    """Every row, oldest first, as the transaction of the connection sees it."""
    after = None
    while rows := _after(connection, dialect, after, ALL_ROWS):
        yield from rows
        after = rows[-1].number


def _after(
    connection: Connection, dialect: SqlDialect, after: int | None, wanted: AuditFilter
) -> list[AuditRow]:
    """A batch of the selected rows, oldest first, with numbers above ``after``."""
    query = filtered(select(audit), wanted, dialect).order_by(audit.c.number).limit(_BATCH)
    if after is not None:
        query = query.where(audit.c.number > after)
    with dialect.as_stored(connection):
        return [_entry(row) for row in connection.execute(query)]


def _entry(row: Row[Any]) -> AuditRow:
    return AuditRow(
        number=_stored(row.number),
        at=_stored(row.at),
        action=_stored(row.action),
        actor_kind=_stored(row.actor_kind),
        actor=_stored(row.actor),
        address=_stored(row.address),
        subject=_stored(row.subject),
        detail=_stored(row.detail),
        mac=_stored(row.mac),
        address_salt=_stored(row.address_salt),
        address_digest=_stored(row.address_digest),
        detail_salt=_stored(row.detail_salt),
        detail_digest=_stored(row.detail_digest),
    )


def _stored(value: Any) -> Any:
    """The value of a column, which may be of any type if the row was altered."""
    return blob_of(value) if isinstance(value, bytes) else value
