"""The limits of keys and accounts of a store in memory, and the reserved units of quotas."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from latchkey.credentials.limits import QuotaLimit
from latchkey.credentials.quotas import (
    Held,
    LimitRecord,
    QuotaUse,
    Reservation,
    Spent,
    has_tag,
    reserve,
    use_of,
)
from latchkey.store.memory.state import MemoryDatabase, State


class MemoryLimitStore:
    """The quotas of one database."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def reserve(
        self,
        limit_id: int,
        segment: str,
        cost: int,
        now: datetime,
        held: Held | None = None,
    ) -> Reservation | None:
        def transaction(state: State) -> Reservation | None:
            found = state.limits.get(limit_id)
            if found is None or not isinstance(found.definition, QuotaLimit):
                return None
            reserved = _reserved(state, limit_id)
            decision = reserve(found, reserved, segment, cost, now, held)
            MemoryLimitRecords(state).put(found, decision.state)
            for epoch, units in decision.rows.items():
                state.reservations[limit_id, epoch, segment] = units
            return decision.reservation

        return self._database.change(transaction)

    def give_back(
        self,
        limit_id: int,
        epoch: int,
        segment: str,
        spent: int,
        next_epoch: int | None = None,
    ) -> None:
        one = Spent(limit_id, epoch, spent, next_epoch)
        self._database.change(lambda state: _lower(state, segment, [one]))

    def give_back_all(self, segment: str, spent: Iterable[Spent]) -> None:
        given = list(spent)
        known = {one.limit_id for one in given}

        def transaction(state: State) -> None:
            unknown = [
                Spent(limit_id, epoch, 0)
                for limit_id, epoch, of in state.reservations
                if of == segment and limit_id not in known
            ]
            _lower(state, segment, [*given, *unknown])

        self._database.change(transaction)

    def states(self, ids: Collection[int], now: datetime) -> dict[int, QuotaUse]:
        state = self._database.committed
        found = {
            one: use_of(state.limits[one], _reserved(state, one), now)
            for one in ids
            if one in state.limits
        }
        return {number: use for number, use in found.items() if use is not None}


def _lower(state: State, segment: str, spent: Iterable[Spent]) -> None:
    """Lower what a segment has reserved of quotas to what it has spent."""
    for one in spent:
        for (limit_id, epoch, of), units in list(state.reservations.items()):
            if (limit_id, of) != (one.limit_id, segment):
                continue
            if has_tag(epoch, one.epoch):
                state.reservations[limit_id, epoch, of] = min(units, one.spent)
            elif epoch in one.skipped:
                state.reservations[limit_id, epoch, of] = 0


class MemoryLimitRecords:
    """The records of limits in a transaction."""

    def __init__(self, state: State) -> None:
        self._state = state

    def of_holder(self, holder: str, mode: str) -> dict[str, LimitRecord]:
        return {
            one.name: one
            for one in self._state.limits.values()
            if (one.holder, one.mode) == (holder, mode)
        }

    def find(self, limit_id: int) -> LimitRecord:
        return self._state.limits[limit_id]

    def add(self, new: LimitRecord) -> LimitRecord:
        added = replace(new, id=len(self._state.limits) + 1)
        self._state.limits[added.id] = added
        return added

    def put(self, found: LimitRecord, changed: LimitRecord) -> None:
        self._state.limits[found.id] = changed
        if changed.base_epoch != found.base_epoch:
            self._state.reservations = {
                key: units
                for key, units in self._state.reservations.items()
                if key[0] != found.id or key[1] >= changed.base_epoch
            }


def _reserved(state: State, limit_id: int) -> dict[tuple[int, str], int]:
    return {
        (epoch, segment): units
        for (of, epoch, segment), units in state.reservations.items()
        if of == limit_id
    }
