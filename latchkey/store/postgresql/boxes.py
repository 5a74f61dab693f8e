"""The boxes that share a database on PostgreSQL, and the notifications that wake them."""

from __future__ import annotations

import secrets
import select as polling
import time
from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import (
    BigInteger,
    Row,
    ScalarSelect,
    cast,
    delete,
    extract,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from latchkey.credentials.models import Invalidation
from latchkey.credentials.times import from_milliseconds, from_milliseconds_or_none, to_milliseconds
from latchkey.errors import StoreError
from latchkey.store.postgresql.connecting import BoundedConnection
from latchkey.store.postgresql.connections import CHANNEL, PostgresqlConnections, driver_of
from latchkey.store.postgresql.errors import reason_of, translated
from latchkey.store.postgresql.own_tables import other_revision, recorded_revisions
from latchkey.store.protocols.boxes import Box, BoxStore, Confirmation, NewBox, Wakeups
from latchkey.store.revisions import newest_revision
from latchkey.store.tables import box as boxes
from latchkey.store.tables import invalidation
from latchkey.store.usage import forget_segments

_MOST_ROWS = 10_000
_PROBE = "latchkey_probe"
# In seconds: how long a notification of one's own may take. Without it, the box only polls.
_PROBE_WAIT = 1.0
_NOW = cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger)
_LAST_ROW = select(invalidation).order_by(invalidation.c.id.desc()).limit(1)
_BOXES = select(boxes, (func.greatest(_NOW - boxes.c.seen_at, 0)).label("unseen_ms")).order_by(
    boxes.c.name, boxes.c.started_at, boxes.c.id
)


class PostgresqlBoxStore:
    """See ``latchkey.store.protocols.boxes.BoxStore``."""

    def __init__(self, connections: PostgresqlConnections) -> None:
        """No connection is opened yet."""
        self._connections = connections

    @property
    def revision(self) -> str:
        """The number of the last migration."""
        return newest_revision()

    def log_from(self, number: int) -> list[Invalidation]:
        """By one SELECT, on a connection that does not wait long for a lost server."""
        query = select(invalidation).where(invalidation.c.id >= number)
        with self._connections.reading(brief=True) as connection:
            rows = connection.execute(query.order_by(invalidation.c.id).limit(_MOST_ROWS))
            return [_invalidation_of(row) for row in rows]

    def count_after(self, numbers: Collection[int]) -> dict[int, int]:
        """By one SELECT with a column for each number."""
        wanted = sorted(set(numbers))
        if not wanted:
            return {}
        with self._connections.reading(brief=True) as connection:
            counts = connection.execute(select(*map(_rows_after, wanted))).one()
            return dict(zip(wanted, counts, strict=True))

    def last_row(self) -> Invalidation | None:
        """The row with the largest number."""
        with self._connections.reading(brief=True) as connection:
            row = connection.execute(_LAST_ROW).one_or_none()
            return None if row is None else _invalidation_of(row)

    def register(self, box: NewBox, replaces: Collection[str] = ()) -> None:
        """In one transaction, which waits for a migration and then reads the recorded revision."""
        values = {field.name: getattr(box, field.name) for field in fields(NewBox)}
        values["derivation_ids"] = " ".join(box.derivation_ids)
        values["segment"] = box.segment or None
        values["started_at"] = to_milliseconds(box.started_at)
        with self._connections.updating_boxes() as connection:
            if replaces:
                connection.execute(_boxes_with(replaces).values(live=False))
            connection.execute(insert(boxes).values(**values, live=True, seen_at=_NOW))
            revisions = recorded_revisions(driver_of(connection))
            if revisions != [newest_revision()]:
                raise StoreError(other_revision(revisions))

    def confirm(self, box_id: str, number: int, nonce: int, lease_ms: int) -> Confirmation:
        """In one UPDATE of the live box, if its lease is long enough and the log has the row.

        It waits for a synchronous standby: otherwise, a former primary would renew the lease while
        another one answers changes. If nothing was updated, a SELECT finds the reason, which holds
        permanently: a box never becomes live again, and its lease never changes.
        """
        row = select(invalidation.c.id).where(
            invalidation.c.id == number, invalidation.c.nonce == nonce
        )
        is_in_log = row.exists() if number else true()
        change = update(boxes).where(
            boxes.c.id == box_id, boxes.c.live, boxes.c.lease_ms >= lease_ms, is_in_log
        )
        reasons = select(boxes.c.live, is_in_log.label("is_in_log")).where(boxes.c.id == box_id)
        confirmed = func.greatest(boxes.c.confirmed, number)
        with self._connections.updating_boxes() as connection:
            done = connection.execute(change.values(confirmed=confirmed, seen_at=_NOW))
            if done.rowcount == 1:
                return Confirmation.MADE
            found = connection.execute(reasons).one_or_none()
        if found is None:
            return Confirmation.FORGOTTEN
        if not found.live:
            return Confirmation.CUT_OFF
        return Confirmation.SHORTER_LEASE if found.is_in_log else Confirmation.REWOUND

    def stop(self, box_id: str) -> None:
        """By the clock of the database."""
        with self._connections.updating_boxes() as connection:
            connection.execute(_boxes_with([box_id]).values(live=False, stopped_at=_NOW))

    def live(self) -> list[Box]:
        """By name and time of their start."""
        with self._connections.reading(brief=True) as connection:
            return [_box_of(row) for row in connection.execute(_BOXES.where(boxes.c.live))]

    def unconfirmed(self, box_ids: Collection[str], number: int) -> set[str]:
        """Those that are missing, and those that have confirmed less and were not stopped."""
        passed = select(boxes.c.id).where(
            boxes.c.id.in_(list(box_ids)),
            or_(boxes.c.confirmed >= number, boxes.c.stopped_at.is_not(None)),
        )
        with self._connections.reading(brief=True) as connection:
            return set(box_ids) - set(connection.execute(passed).scalars())

    def mark_dead(self, box_ids: Collection[str], number: int) -> int:
        """In one UPDATE."""
        change = _boxes_with(box_ids).where(boxes.c.live, boxes.c.confirmed < number)
        with self._connections.updating_boxes() as connection:
            return int(connection.execute(change.values(live=False)).rowcount)

    def registered(self) -> list[Box]:
        """All of them."""
        with self._connections.reading(brief=True) as connection:
            return [_box_of(row) for row in connection.execute(_BOXES)]

    def forget(self, before: datetime) -> int:
        """By the clock of the database, which wrote the time."""
        old = (~boxes.c.live, boxes.c.seen_at < to_milliseconds(before))
        # With a turn, so that no segment is flushed meanwhile.
        with self._connections.writing(upkeep=True) as connection:
            found = connection.execute(delete(boxes).where(*old).returning(boxes.c.segment))
            segments = list(found.scalars())
            kept = set(connection.execute(select(boxes.c.segment)).scalars())
            forget_segments(connection, set(segments) - kept - {None})
            return len(segments)

    def is_same_as(self, other: BoxStore) -> bool:
        """Whether the other connections see a lock of these."""
        return isinstance(other, PostgresqlBoxStore) and self._connections.is_same_as(
            other._connections
        )

    def is_pooled(self) -> bool:
        """As found when the connection was opened."""
        with self._connections.reading(brief=True) as connection:
            return driver_of(connection).is_pooled

    def open_wakeups(self) -> Wakeups | None:
        """A connection that listens, unless its own notification does not come back."""
        with translated:
            connection = self._connections.open_listener()
            try:
                if connection.is_pooled:
                    connection.close()
                    return None
                wakeups = PostgresqlWakeups(connection)
                probe = f"{_PROBE}_{secrets.token_hex(8)}"
                connection.execute(f"LISTEN {probe}".encode())
                # By another connection: the driver takes what arrives with the answer to this one.
                with self._connections.reading(brief=True) as other:
                    other.exec_driver_sql(f"NOTIFY {probe}")
                if not wakeups.wait(_PROBE_WAIT):
                    connection.close()
                    return None
                connection.execute(f"UNLISTEN {probe}; LISTEN {CHANNEL}".encode())
            except BaseException:
                connection.close()
                raise
        return wakeups


class PostgresqlWakeups:
    """A connection that does nothing but listen."""

    def __init__(self, connection: BoundedConnection) -> None:
        """Takes the connection over."""
        self._connection = connection
        self._has_arrived = False
        # The driver takes those that arrive with the answer to a statement.
        connection.add_notify_handler(self._note)

    def wait(self, seconds: float) -> bool:
        """Wait for a notification; False after ``seconds``. Raises StoreError if it is lost."""
        deadline = time.monotonic() + seconds
        try:
            waiting = polling.poll()
            waiting.register(self._connection.pgconn.socket, polling.POLLIN)
            while not self._take():
                left = deadline - time.monotonic()
                if left <= 0 or not waiting.poll(left * 1000):
                    return False
                self._connection.pgconn.consume_input()
        except (psycopg.Error, OSError, ValueError) as error:
            self._connection.close()
            raise StoreError(
                f"the connection for notifications is lost: {reason_of(error)}"
            ) from None
        return True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _take(self) -> bool:
        """Whether a notification had arrived; takes all of them."""
        found, self._has_arrived = self._has_arrived, False
        while self._connection.pgconn.notifies() is not None:
            found = True
        return found

    def _note(self, notification: object) -> None:
        self._has_arrived = True


def _boxes_with(box_ids: Collection[str]) -> Any:
    return update(boxes).where(boxes.c.id.in_(list(box_ids)))


def _rows_after(number: int) -> ScalarSelect[int]:
    later = select(invalidation.c.id).where(invalidation.c.id > number).limit(_MOST_ROWS)
    return select(func.count()).select_from(later.subquery()).scalar_subquery()


def _invalidation_of(row: Row[Any]) -> Invalidation:
    return Invalidation(row.id, row.lookup, row.at, row.nonce)


def _box_of(row: Row[Any]) -> Box:
    return Box(
        id=row.id,
        name=row.name,
        version=row.version,
        revision=row.revision,
        derivation_ids=tuple(row.derivation_ids.split()),
        workers=row.workers,
        lease_ms=row.lease_ms,
        confirmed=row.confirmed,
        live=row.live,
        started_at=from_milliseconds(row.started_at),
        stopped_at=from_milliseconds_or_none(row.stopped_at),
        unseen_ms=row.unseen_ms,
        segment=row.segment or "",
    )
