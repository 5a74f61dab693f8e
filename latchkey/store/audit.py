"""The audit log: rows that are only ever added, each in the transaction of what it tells of.

They are numbered without gaps, since the number is taken in that transaction, and writers take
turns. A store without a seal reads the log, and cannot change anything that has to be in it.
Rows are read whatever somebody put there: what is wrong has to be found, and stops nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from latchkey.credentials.audit import (
    ALL_ROWS,
    NO_ROWS,
    AuditFilter,
    Entry,
    Head,
    Record,
    blob_of,
    text_of,
)
from latchkey.credentials.audit_check import Verification, verify
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.errors import StoreError
from latchkey.store.audit_births import births_of
from latchkey.store.audit_head import PATIENCE, HeadBusy, HeadUnusable, Seal
from latchkey.store.rows import to_milliseconds
from latchkey.store.sqlite.connections import Connections
from latchkey.store.tables import audit
from latchkey.store.transactions import commit

_BATCH = 1_000
_LARGEST_NUMBER = 2**63 - 1
_LAST = select(audit.c.number, audit.c.mac).order_by(audit.c.number.desc()).limit(1)
_next = audit.alias("next")
# Where somebody put a row under the largest number, or others up to it: the one that is followed by
# none, so that changes go on. Verifying tells of the gap.
_LAST_FOLLOWED_BY_NONE = _LAST.where(
    audit.c.number < _LARGEST_NUMBER,
    ~select(_next.c.number).where(_next.c.number == audit.c.number + 1).exists(),
)

log = logging.getLogger("latchkey")


def filtered(query: Select[Any], wanted: AuditFilter) -> Select[Any]:
    """A query of the table, with the conditions of the filter."""
    if wanted.subject is not None:
        made = audit.c.number.in_(births_of(wanted.subject))
        query = query.where((audit.c.subject == wanted.subject) | made)
    if wanted.actor is not None:
        query = query.where((audit.c.actor == wanted.actor) | (audit.c.actor_kind == wanted.actor))
    if wanted.action is not None:
        query = query.where(audit.c.action == wanted.action)
    if wanted.since is not None:
        query = query.where(audit.c.at >= to_milliseconds(wanted.since))
    return query


class AuditLog:
    """The log of one database. Its methods raise StoreError when the database fails."""

    def __init__(self, connections: Connections, seal: Seal | None) -> None:
        self._connections = connections
        self._seal = seal
        # The head that could not be kept, because another process had locked its file.
        self._owed: Head | None = None

    def record(self, record: Record) -> Outcome[None]:
        """Write down what changes nothing else in the database."""
        return commit(
            self._connections,
            lambda connection: Made(None, Publication(head=self.append(connection, record))),
        )

    def record_new_end(self, decide: Callable[[], Record]) -> Outcome[Head]:
        """Write down that the log goes on otherwise than the head that is kept says.

        ``decide`` is called with the write lock, so no row is added meanwhile. The new head
        replaces the one that is kept.
        """

        def transaction(connection: Connection) -> Made[Head]:
            head = self.append(connection, decide())
            return Made(head, Publication(head=head, replaces_head=True))

        return commit(self._connections, transaction)

    def append(self, connection: Connection, record: Record) -> Head:
        """Add a row in a transaction that has the write lock; the head to publish."""
        if self._seal is None:
            raise StoreError("a change needs the key of the audit log")
        last = _last(connection)
        actor = record.actor
        entry = Entry(
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
        mac = self._seal.key.mac(last.mac, entry.fields)
        names = ("number", "at", "action", "actor_kind", "actor", "address", "subject", "detail")
        row = dict(zip(names, entry.fields, strict=True))
        connection.execute(insert(audit), {**row, "mac": mac})
        return Head(entry.number, mac)

    def keep(self, head: Head) -> None:
        """Note after a commit, outside the database, how far the log goes.

        What was committed stands, whatever happens here: a fault is logged, and the next head
        replaces the missing one. Where another process keeps the file locked, one round of changes
        waits for it, and those after it do not until the lock can be had again.
        """
        if self._seal is None:
            return
        places = self._connections.places
        place = places.take() if self._owed is None else None
        try:
            self._seal.head.advance(head, self._has, 0 if place is None else PATIENCE)
            self._owed = None
        except HeadBusy as error:
            if self._owed is None:
                log.error(
                    "the head file of the audit log will be written by the next change: %s", error
                )
            self._owed = max(head, self._owed or head, key=lambda one: one.number)
        except (HeadUnusable, StoreError) as error:
            log.error(
                "the head file of the audit log was not written (see: latchkey audit verify): %s",
                error,
            )
        finally:
            if place is not None:
                places.release(place)

    def catch_up(self) -> None:
        """Keep the head that had to be left, if there is one."""
        if self._owed is not None:
            self.keep(self._owed)

    def replace(self, head: Head) -> None:
        """Note a head that the one before need not lead to: the operator says that it holds.

        Raises HeadUnusable where it cannot be written.
        """
        if self._seal is None:
            raise StoreError("writing the head file needs the key of the audit log")
        self._seal.head.replace(head)

    def behind_head(self) -> str | None:
        """What is wrong where the log lacks the row that the head names; None where it has it.

        Then the database is older than the head: changes that were answered are missing.
        """
        if self._seal is None:
            return None
        try:
            head = self._seal.head.read()
        except HeadUnusable:
            # For ``verify`` to say: it tells nothing about the database.
            return None
        if head.number == 0 or self._has(head):
            return None
        return (
            f"the database lacks row {head.number} of the audit log, which the head file names: "
            "it is older than its last changes, and keys that were revoked may work again; "
            "see: latchkey audit verify"
        )

    def verify(self) -> Verification:
        """Look through the whole log, as the key and the head outside the database have it."""
        if self._seal is None:
            raise StoreError("verifying needs the key of the audit log")
        head: Head | str
        # The head first: rows that are added meanwhile only make the log longer than it says.
        try:
            head = self._seal.head.read()
        except HeadUnusable as error:
            head = str(error)
        return verify(self._seal.key, self.entries(), head)

    def last(self) -> Head:
        """The last row as it is stored."""
        with self._connections.reading() as connection:
            return _last(connection)

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[Entry]:
        """At most ``limit`` rows with numbers below ``before``, the newest first, to be shown."""
        query = filtered(select(audit), wanted).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.number < before)
        with self._connections.reading() as connection, _as_stored(connection):
            return [_entry(row).readable for row in connection.execute(query)]

    def newest(self, wanted: AuditFilter, limit: int | None) -> Iterator[Entry]:
        """The rows that are asked for, the newest first, in batches of reads; None is no limit."""
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
        """How many rows are asked for."""
        query = filtered(select(func.count()).select_from(audit), wanted)
        with self._connections.reading() as connection:
            number: int = connection.execute(query).scalar_one()
        return number

    def entries(self, wanted: AuditFilter = ALL_ROWS) -> Iterator[Entry]:
        """Every row, the oldest first; those that are added meanwhile among them."""
        after = None
        while True:
            query = filtered(select(audit), wanted).order_by(audit.c.number).limit(_BATCH)
            if after is not None:
                query = query.where(audit.c.number > after)
            with self._connections.reading() as connection, _as_stored(connection):
                rows = [_entry(row) for row in connection.execute(query)]
            yield from rows
            if len(rows) < _BATCH:
                return
            after = rows[-1].number

    def _has(self, head: Head) -> bool:
        query = select(audit.c.mac).where(audit.c.number == head.number)
        with self._connections.reading() as connection, _as_stored(connection):
            return connection.execute(query).scalar_one_or_none() == head.mac


def _last(connection: Connection) -> Head:
    with _as_stored(connection):
        row = connection.execute(_LAST).one_or_none()
        if row is not None and row[0] == _LARGEST_NUMBER:
            row = connection.execute(_LAST_FOLLOWED_BY_NONE).one_or_none()
    return NO_ROWS if row is None else Head(*_texts(row))


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(*_texts(row))


def _texts(row: Sequence[Any]) -> Iterator[Any]:
    return (blob_of(value) if isinstance(value, bytes) else value for value in row)


@contextmanager
def _as_stored(connection: Connection) -> Iterator[None]:
    """Read texts on a connection that may be no UTF-8, which is an error everywhere else."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise StoreError("the connection is closed")
    driver.text_factory = text_of
    try:
        yield
    finally:
        driver.text_factory = str
