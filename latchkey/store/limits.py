"""The limits of keys and accounts in the database, and the units of quotas that are reserved.

The row of a limit is locked before its reservations are read, so one segment at a time reserves
units of a quota, and none while the quota is changed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from latchkey.credentials.limits import (
    QuotaLimit,
    StoredLimit,
    limit_of_json,
    stored_limits_text,
)
from latchkey.credentials.models import NewCredential
from latchkey.credentials.quotas import (
    EPOCH_TAGS,
    Held,
    LimitRecord,
    QuotaUse,
    Reservation,
    Spent,
    begun,
    reserve,
    use_of,
)
from latchkey.credentials.times import from_milliseconds, to_milliseconds
from latchkey.store.connections import Connections, SqlDialect
from latchkey.store.tables import limit_state, quota_reservation

_OF_HOLDER = (
    select(limit_state)
    .where(
        limit_state.c.holder == bindparam("holder"),
        limit_state.c.mode == bindparam("mode"),
    )
    .order_by(limit_state.c.id)
    .with_for_update()
)
_FIND = select(limit_state).where(limit_state.c.id == bindparam("id")).with_for_update()
_ADD = insert(limit_state).returning(limit_state.c.id)
_UPDATE = update(limit_state).where(limit_state.c.id == bindparam("of"))
_RESERVED = select(quota_reservation).where(quota_reservation.c.limit_id == bindparam("limit_id"))
_FORGET_BEFORE = delete(quota_reservation).where(
    quota_reservation.c.limit_id == bindparam("of"),
    quota_reservation.c.epoch < bindparam("base"),
)
_GIVE_BACK = (
    update(quota_reservation)
    .where(
        quota_reservation.c.limit_id == bindparam("of"),
        quota_reservation.c.segment == bindparam("by"),
        quota_reservation.c.epoch % literal(EPOCH_TAGS, BigInteger)
        == cast(bindparam("tag"), BigInteger),
        quota_reservation.c.reserved > cast(bindparam("spent"), BigInteger),
    )
    .values(reserved=cast(bindparam("spent"), BigInteger))
)
_GIVE_BACK_SKIPPED = (
    update(quota_reservation)
    .where(
        quota_reservation.c.limit_id == bindparam("of"),
        quota_reservation.c.segment == bindparam("by"),
        quota_reservation.c.epoch >= bindparam("first"),
        quota_reservation.c.epoch < bindparam("end"),
    )
    .values(reserved=0)
)
_OF_SEGMENT = select(quota_reservation.c.limit_id, quota_reservation.c.epoch).where(
    quota_reservation.c.segment == bindparam("by"), quota_reservation.c.reserved > 0
)
_NEW_COLUMNS = [column.name for column in limit_state.c if column.name != "id"]
_new_values = itemgetter(*_NEW_COLUMNS)
_LAST_ID = select(func.coalesce(func.max(limit_state.c.id), 0))


class SqlLimitStore:
    """The quotas of one database; see ``latchkey.store.protocols.LimitStore``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._dialect = connections.dialect
        self._reserve = connections.dialect.upsert(
            quota_reservation,
            ["limit_id", "epoch", "segment"],
            lambda new: {"reserved": new["reserved"]},
        )

    def reserve(
        self,
        limit_id: int,
        segment: str,
        cost: int,
        now: datetime,
        held: Held | None = None,
    ) -> Reservation | None:
        """Reserve units for a segment so that it can spend ``cost``, if there are enough."""
        with self._connections.reserving() as connection:
            row = connection.execute(_FIND, {"id": limit_id}).one_or_none()
            if row is None:
                return None
            found = record_of(row)
            if not isinstance(found.definition, QuotaLimit):
                return None
            reserved = _reserved(connection, limit_id)
            decision = reserve(found, reserved, segment, cost, now, held)
            SqlLimitRecords(connection).put(found, decision.state)
            if decision.rows:
                of = {"limit_id": limit_id, "segment": segment}
                rows = [
                    {**of, "epoch": epoch, "reserved": units}
                    for epoch, units in decision.rows.items()
                ]
                connection.execute(self._reserve, rows)
            return decision.reservation

    def give_back(
        self,
        limit_id: int,
        epoch: int,
        segment: str,
        spent: int,
        next_epoch: int | None = None,
    ) -> None:
        """Lower what is reserved for a segment in an epoch to what it has spent."""
        with self._connections.reserving() as connection:
            _lower(connection, segment, Spent(limit_id, epoch, spent, next_epoch))

    def give_back_all(self, segment: str, spent: Iterable[Spent]) -> None:
        """The same for all quotas of a segment that no process uses any more."""
        given = list(spent)
        known = {one.limit_id for one in given}
        with self._connections.reserving() as connection:
            reserved = connection.execute(_OF_SEGMENT, {"by": segment})
            given += [
                Spent(row.limit_id, row.epoch, 0) for row in reserved if row.limit_id not in known
            ]
            # In one order, because each row stays locked until the end.
            for one in sorted(given, key=lambda one: one.limit_id):
                _lower(connection, segment, one)

    def states(self, ids: Collection[int], now: datetime) -> dict[int, QuotaUse]:
        """The use of quotas at ``now``, by the ids of the limits; rates are left out."""
        if not ids:
            return {}
        of_limits = self._dialect.one_of(limit_state.c.id, ids)
        # One statement sees one state of the database.
        query = (
            select(limit_state, quota_reservation.c.epoch.label("of_epoch"))
            .add_columns(quota_reservation.c.segment, quota_reservation.c.reserved)
            .outerjoin(quota_reservation, quota_reservation.c.limit_id == limit_state.c.id)
            .where(of_limits)
        )
        found: dict[int, LimitRecord] = {}
        reserved: dict[int, dict[tuple[int, str], int]] = {}
        with self._connections.reading() as connection:
            for row in connection.execute(query):
                found[row.id] = record_of(row)
                if row.reserved is not None:
                    reserved.setdefault(row.id, {})[row.of_epoch, row.segment] = row.reserved
        uses = {number: use_of(one, reserved.get(number, {}), now) for number, one in found.items()}
        return {number: use for number, use in uses.items() if use is not None}


def _lower(connection: Connection, segment: str, one: Spent) -> None:
    """Lower what a segment has reserved of a quota to what it has spent."""
    of = {"of": one.limit_id, "by": segment}
    tag = one.epoch % EPOCH_TAGS
    connection.execute(_GIVE_BACK, {**of, "tag": tag, "spent": one.spent})
    if skipped := one.skipped:
        between = {"first": skipped.start, "end": skipped.stop}
        connection.execute(_GIVE_BACK_SKIPPED, {**of, **between})


class SqlLimitRecords:
    """The records of limits in a transaction; see ``LimitRecords``.

    A record that is read stays locked until the end of the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_holder(self, holder: str, mode: str) -> Mapping[str, LimitRecord]:
        """All records of a holder, by the names of the limits."""
        rows = self._connection.execute(_OF_HOLDER, {"holder": holder, "mode": mode})
        return {row.name: record_of(row) for row in rows}

    def find(self, limit_id: int) -> LimitRecord:
        """The record with this id, which a key or an account has."""
        return record_of(self._connection.execute(_FIND, {"id": limit_id}).one())

    def add(self, new: LimitRecord) -> LimitRecord:
        """Store a new record; returns it with its id."""
        number: int = self._connection.execute(_ADD, limit_values(new)).scalar_one()
        return replace(new, id=number)

    def put(self, found: LimitRecord, changed: LimitRecord) -> None:
        """Replace a record, and forget the reservations that it does not count any more."""
        if changed == found:
            return
        of = {"of": found.id}
        self._connection.execute(_UPDATE.values(**limit_values(changed)), of)
        if changed.base_epoch != found.base_epoch:
            self._connection.execute(_FORGET_BEFORE, {**of, "base": changed.base_epoch})


def add_many_limits(
    connection: Connection, dialect: SqlDialect, keys: Iterable[NewCredential]
) -> dict[str, str | None]:
    """Store the limits of many new keys; returns the text of their column, by key."""
    rows = [
        _new_values(limit_values(begun(0, key.api_key, "", limit, key.created_at)))
        for key in keys
        for limit in key.limits
    ]
    if not rows:
        return {}
    last = connection.execute(_LAST_ID).scalar_one()
    dialect.insert_many(connection, limit_state, _NEW_COLUMNS, rows)
    added: dict[str, list[StoredLimit]] = {}
    query = select(limit_state).where(limit_state.c.id > last).order_by(limit_state.c.id)
    for row in connection.execute(query):
        added.setdefault(row.holder, []).append(record_of(row).stored)
    return {holder: stored_limits_text(limits) for holder, limits in added.items()}


def record_of(row: Row[Any]) -> LimitRecord:
    """The limit in a row; raises ValueError or TypeError if it is not valid."""
    try:
        definition = limit_of_json(json.loads(row.definition))
    except KeyError as error:
        raise ValueError(f"limit {row.id} has no {error}") from None
    return LimitRecord(
        *(row.id, row.holder, row.mode, row.name, definition),
        *(row.generation, row.epoch, row.base_epoch, from_milliseconds(row.period_start)),
    )


def limit_values(state: LimitRecord) -> dict[str, Any]:
    """The columns of a limit, without its id."""
    return {
        "holder": state.holder,
        "mode": state.mode,
        "name": state.name,
        "definition": json.dumps(state.definition.to_json(), separators=(",", ":")),
        "generation": state.generation,
        "epoch": state.epoch,
        "base_epoch": state.base_epoch,
        "period_start": to_milliseconds(state.period_start),
    }


def _reserved(connection: Connection, limit_id: int) -> Mapping[tuple[int, str], int]:
    rows = connection.execute(_RESERVED, {"limit_id": limit_id})
    return {(row.epoch, row.segment): row.reserved for row in rows}
