"""The audit log: append-only rows, each written in the transaction of its change.

Rows are numbered without gaps: the number is read in that transaction, and changes take turns. A
store without a seal can read the log, but cannot make changes that the log records. Altered rows
are read without an error, so that verification can report them and changes continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select

from latchkey.credentials.audit import (
    ALL_ROWS,
    NO_ROWS,
    AuditEvent,
    AuditFilter,
    AuditRow,
    Head,
    blob_of,
)
from latchkey.credentials.audit_check import Verification
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.times import to_milliseconds
from latchkey.errors import StoreError
from latchkey.store.audit_births import births_of
from latchkey.store.audit_head import Seal
from latchkey.store.connections import Connections, SqlDialect
from latchkey.store.kept_head import KeptHead
from latchkey.store.tables import audit
from latchkey.store.transactions import commit

_BATCH = 1_000
_LARGEST_NUMBER = 2**63 - 1
_LAST = select(audit.c.number, audit.c.mac).order_by(audit.c.number.desc()).limit(1)
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
        if self._seal is None:
            raise StoreError("a change needs the key of the audit log")
        last = self._last(connection)
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
        entry = replace(entry, mac=self._seal.key.mac(last.mac, entry.fields))
        connection.execute(insert(audit), asdict(entry))
        return Head(entry.number, entry.mac)

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
            return self._last(connection)

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRow]:
        """At most ``limit`` rows with numbers below ``before``, the newest first, to be shown."""
        query = self._filtered(select(audit), wanted).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.number < before)
        with self._connections.reading() as connection, self._dialect.as_stored(connection):
            return [_entry(row).readable for row in connection.execute(query)]

    def newest(self, wanted: AuditFilter, limit: int | None) -> Iterator[AuditRow]:
        """The selected rows, newest first, read in batches; None is no limit."""
        before = None
        while limit is None or limit > 0:
            size = _BATCH if limit is None else min(_BATCH, limit)
            found = self.page(wanted, size, before)
            yield from found
            if len(found) < size:
                return
            before = found[-1].number
            limit = None if limit is None else limit - size

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
            query = self._filtered(select(audit), wanted).order_by(audit.c.number).limit(_BATCH)
            if after is not None:
                query = query.where(audit.c.number > after)
            with self._connections.reading() as connection, self._dialect.as_stored(connection):
                rows = [_entry(row) for row in connection.execute(query)]
            yield from rows
            if len(rows) < _BATCH:
                return
            after = rows[-1].number

    def _has(self, head: Head) -> bool:
        query = select(audit.c.mac).where(audit.c.number == head.number)
        with self._connections.reading() as connection, self._dialect.as_stored(connection):
            return connection.execute(query).scalar_one_or_none() == head.mac

    def _last(self, connection: Connection) -> Head:
        with self._dialect.as_stored(connection):
            row = connection.execute(_LAST).one_or_none()
            if row is not None and row.number == _LARGEST_NUMBER:
                row = connection.execute(_LAST_FOLLOWED_BY_NONE).one_or_none()
        return NO_ROWS if row is None else Head(_stored(row.number), _stored(row.mac))

    def _filtered(self, query: Select[Any], wanted: AuditFilter) -> Select[Any]:
        return filtered(query, wanted, self._dialect)


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
    )


def _stored(value: Any) -> Any:
    """The value of a column, which may be of any type if the row was altered."""
    return blob_of(value) if isinstance(value, bytes) else value
