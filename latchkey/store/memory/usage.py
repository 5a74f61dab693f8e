"""The use of credentials, and the log of invalidations, of a store in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from latchkey.credentials.models import (
    COUNTED,
    LIMIT_REASONS,
    REFUSAL_REASONS,
    SIGHTINGS_KEPT,
    AccountUsageRecord,
    Invalidation,
    Mode,
    Sighting,
    Tally,
    UsageRecord,
)
from latchkey.credentials.reach import Reach
from latchkey.credentials.times import from_milliseconds, to_milliseconds, to_the_millisecond
from latchkey.store.memory.state import (
    MemoryDatabase,
    State,
)
from latchkey.store.protocols.usage import FORGOTTEN

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_MOST_ROWS = 10_000


def forget_segment(state: State, segment: str) -> None:
    """Delete the watermarks of a segment that may still exist, and note that."""
    kept = {key: mark for key, mark in state.watermarks.items() if key[0] != segment}
    if len(kept) < len(state.watermarks):
        kept[segment, FORGOTTEN] = Tally(FORGOTTEN)
    state.watermarks = kept


class MemoryInvalidationLog:
    """The log of one database."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def after(self, number: int) -> list[Invalidation]:
        rows = [row for row in self._database.committed.invalidations if row.number > number]
        return rows[:_MOST_ROWS]

    def prune(self, before: datetime, below: int) -> int:
        def transaction(state: State) -> int:
            rows = state.invalidations
            needed = min(
                (box.confirmed for box, _ in state.boxes.values() if box.live), default=below
            )
            state.invalidations = [
                row
                for row in rows
                if row.at >= to_milliseconds(before)
                or row.number >= min(below, needed)
                or row is rows[-1]
            ]
            return len(rows) - len(state.invalidations)

        return self._database.change(transaction)


class MemoryUsageStore:
    """The use of credentials in one database."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def flush(self, segment: str, tallies: Iterable[Tally], now: datetime) -> bool:
        def transaction(state: State) -> bool:
            if (segment, FORGOTTEN) in state.watermarks:
                return False
            for tally in tallies:
                _flush(state, segment, tally, now)
            return True

        return self._database.change(transaction)

    def resume(self, segment: str, tallies: Sequence[Tally]) -> None:
        def transaction(state: State) -> None:
            if state.watermarks.pop((segment, FORGOTTEN), None) is not None:
                for tally in tallies:
                    state.watermarks[segment, tally.credential_id] = tally

        self._database.change(transaction)

    def fold(self, before: datetime) -> int:
        end = to_milliseconds(before)

        def transaction(state: State) -> int:
            old = [key for key in state.uses if key[1] < end and key[1] % _DAY]
            for number, hour in old:
                day = (number, hour // _DAY * _DAY)
                state.uses[day] = state.uses.get(day, 0) + state.uses.pop((number, hour))
            state.limited = {key: count for key, count in state.limited.items() if key[1] >= end}
            return len(old)

        return self._database.change(transaction)

    def forget_addresses(self, before: datetime) -> int:
        def transaction(state: State) -> int:
            old = [key for key, at in state.sightings.items() if at < before]
            for key in old:
                del state.sightings[key]
            return len(old)

        return self._database.change(transaction)

    def record(self, credential_id: int, segment: str) -> UsageRecord:
        state = self._database.committed
        hours = {hour: uses for (of, hour), uses in state.uses.items() if of == credential_id}
        limited = {hour: n for (of, hour), n in state.limited.items() if of == credential_id}
        return UsageRecord(
            {from_milliseconds(hour): uses for hour, uses in sorted(hours.items())},
            {name: count for (of, name), count in state.refusals.items() if of == credential_id},
            state.watermarks.get((segment, credential_id), Tally(credential_id)),
            tuple(_sightings(state, credential_id)),
            {from_milliseconds(hour): refusals for hour, refusals in sorted(limited.items())},
        )

    def account_record(self, account_id: str, mode: Mode, segment: str) -> AccountUsageRecord:
        state = self._database.committed
        reach = Reach(account_id, mode)
        own = [one for one in state.credentials.values() if reach.covers(one)]
        hours: Counter[datetime] = Counter()
        limited: Counter[datetime] = Counter()
        refusals: Counter[str] = Counter()
        for record in (self.record(one.id, segment) for one in own):
            hours.update(record.hours)
            limited.update(record.limited)
            refusals.update(record.refusals)
        return AccountUsageRecord(
            dict(sorted(hours.items())),
            dict(refusals),
            sorted(one.id for one in own),
            {
                one.id: state.watermarks[segment, one.id]
                for one in own
                if (segment, one.id) in state.watermarks
            },
            max((one.last_used_at for one in own if one.last_used_at), default=None),
            min((one.first_used_at for one in own if one.first_used_at), default=None),
            dict(sorted(limited.items())),
        )

    def forget_segment(self, segment: str) -> None:
        def transaction(state: State) -> None:
            state.watermarks = {
                key: mark for key, mark in state.watermarks.items() if key[0] != segment
            }

        self._database.change(transaction)

    def forget_other_segments(self, segment: str | None) -> None:
        def transaction(state: State) -> None:
            state.watermarks = {
                key: mark for key, mark in state.watermarks.items() if key[0] == segment
            }

        self._database.change(transaction)


def _flush(state: State, segment: str, tally: Tally, now: datetime) -> None:
    number = tally.credential_id
    mark = state.watermarks.get((segment, number), Tally(number))
    gain = {name: getattr(tally, name) - getattr(mark, name) for name in COUNTED}
    if not any(amount > 0 for amount in gain.values()):
        return
    reached = {name: max(getattr(tally, name), getattr(mark, name)) for name in COUNTED}
    state.watermarks[segment, number] = Tally(number, **reached)
    credential = state.credentials.get(number)
    if credential is None:
        return
    for reason in REFUSAL_REASONS:
        if gain[reason] > 0:
            key = (number, reason)
            state.refusals[key] = state.refusals.get(key, 0) + gain[reason]
    if by_limits := sum(max(0, gain.get(reason, 0)) for reason in LIMIT_REASONS):
        this_hour = (number, to_milliseconds(now) // _HOUR * _HOUR)
        state.limited[this_hour] = state.limited.get(this_hour, 0) + by_limits
    if gain["uses"] > 0:
        last = tally.last_used or to_milliseconds(now)
        hour = (number, last // _HOUR * _HOUR)
        state.uses[hour] = state.uses.get(hour, 0) + gain["uses"]
        if credential.last_used_at is None or credential.last_used_at < from_milliseconds(last):
            state.credentials[number] = replace(
                credential,
                last_used_at=from_milliseconds(last),
                first_used_at=credential.first_used_at
                or from_milliseconds(tally.first_used or last),
            )
    if credential.account.erased_at is not None:
        return
    for one in tally.sightings:
        latest = state.sightings.get((number, one.address), one.at - timedelta(1))
        state.sightings[number, one.address] = max(latest, to_the_millisecond(one.at))
    for one in _sightings(state, number)[SIGHTINGS_KEPT:]:
        del state.sightings[number, one.address]


def _sightings(state: State, number: int) -> list[Sighting]:
    """The addresses of a credential, newest first."""
    found = [Sighting(where, at) for (of, where), at in state.sightings.items() if of == number]
    return sorted(found, key=lambda one: one.at, reverse=True)
