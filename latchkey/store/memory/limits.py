"""The limits of keys and accounts of a store in memory, and the reserved units of quotas."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from latchkey.credentials.limits import AccountLimits, Limit, QuotaLimit, StoredLimit
from latchkey.credentials.models import MODES
from latchkey.credentials.quotas import (
    Held,
    LimitRecord,
    QuotaUse,
    Reservation,
    Spent,
    begun,
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
            _put(state, found, decision.state)
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


def store_limits(
    state: State,
    holder: str,
    mode: str,
    limits: Iterable[Limit],
    now: datetime,
    *,
    renews_totals: bool = True,
) -> tuple[StoredLimit, ...]:
    """Store the limits of a key or an account, as in SQL."""
    present = {
        one.name: one for one in state.limits.values() if (one.holder, one.mode) == (holder, mode)
    }
    stored = []
    for limit in limits:
        found = present.get(limit.name)
        if found is None:
            changed = begun(len(state.limits) + 1, holder, mode, limit, now)
            state.limits[changed.id] = changed
        else:
            changed = found.redefined(limit, now, renews_total=renews_totals)
            _put(state, found, changed)
        stored.append(changed.stored)
    return tuple(stored)


def store_account_limits(
    state: State,
    account_id: str,
    limits: Sequence[Limit],
    now: datetime,
    *,
    renews_totals: bool = True,
) -> AccountLimits:
    """Store the limits of an account in each mode."""
    live, test = (
        store_limits(state, account_id, mode, limits, now, renews_totals=renews_totals)
        for mode in MODES
    )
    return AccountLimits(live, test)


def renew_limits(
    state: State, limits: Sequence[StoredLimit], names: Collection[str], now: datetime
) -> tuple[StoredLimit, ...]:
    """Begin the quotas with these names anew."""
    renewed = []
    for one in limits:
        if one.limit.name in names:
            found = state.limits[one.id]
            changed = found.renewed(now)
            _put(state, found, changed)
            one = changed.stored
        renewed.append(one)
    return tuple(renewed)


def _put(state: State, found: LimitRecord, changed: LimitRecord) -> None:
    state.limits[found.id] = changed
    if changed.base_epoch != found.base_epoch:
        state.reservations = {
            key: units
            for key, units in state.reservations.items()
            if key[0] != found.id or key[1] >= changed.base_epoch
        }


def _reserved(state: State, limit_id: int) -> dict[tuple[int, str], int]:
    return {
        (epoch, segment): units
        for (of, epoch, segment), units in state.reservations.items()
        if of == limit_id
    }
