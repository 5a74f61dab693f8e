"""The state of quotas: periods, epochs, and the units that segments of shared memory reserve.

A segment spends only units that are reserved for it in the database. Reservations add up within an
*epoch*. A new period begins an epoch, and so does a change of the quota. The units of all epochs
from ``base_epoch`` on are charged to the present quota.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from latchkey.credentials.limits import Limit, QuotaLimit, StoredLimit, period_at

EPOCH_TAGS = 1 << 24
"""Shared memory keeps an epoch modulo this number."""

# At most this part of a quota, and this many units, are reserved at once.
_PART = 100
_MOST_AT_ONCE = 1_000
# At most this part of the unreserved units, so that segments run out at about the same time.
_PART_OF_ROOM = 10


class Held(NamedTuple):
    """What the memory of a segment has of a quota: units granted in an epoch, and those spent.

    ``epoch`` may be modulo EPOCH_TAGS.
    """

    epoch: int
    granted: int
    spent: int


class Reservation(NamedTuple):
    """The units of a quota that are reserved for a segment, as committed.

    ``reserved`` is the sum of all units of the segment in the epoch. ``until`` is the end of the
    period in UTC; None for a quota without an end. ``used`` are the units of all segments that are
    charged to the quota. ``suffices``: the segment has enough units for the cost. If it is false,
    the quota is used up.
    """

    epoch: int
    generation: int
    reserved: int
    until: datetime | None
    quota: int
    used: int
    suffices: bool


class QuotaUse(NamedTuple):
    """The use of a quota at a moment; see Reservation.

    If its period is over, nothing is used, and ``epoch`` is one that no segment has yet.
    """

    limit: QuotaLimit
    epoch: int
    generation: int
    until: datetime | None
    used: int


class Spent(NamedTuple):
    """The units of a limit that a segment has spent in an epoch, and will not exceed.

    ``epoch`` may be modulo EPOCH_TAGS. ``next_epoch`` is the epoch in which the segment spends now,
    or None. The segment has spent nothing in the epochs between them.
    """

    limit_id: int
    epoch: int
    spent: int
    next_epoch: int | None = None

    @property
    def skipped(self) -> range:
        """The epochs in which the segment has spent nothing."""
        if self.next_epoch is None:
            return range(0)
        return range(
            self.next_epoch - (self.next_epoch - self.epoch) % EPOCH_TAGS + 1, self.next_epoch
        )


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A stored limit: the last definition under its name, and the state of a quota.

    ``holder`` is the key, or the account's id with the ``mode``, which is empty for a key.
    """

    id: int
    holder: str
    mode: str
    name: str
    definition: Limit
    generation: int
    epoch: int
    base_epoch: int
    period_start: datetime

    def advanced(self, now: datetime) -> LimitRecord:
        """The state in the period of ``now``. The period never moves back."""
        if not isinstance(self.definition, QuotaLimit):
            return self
        start = period_at(self.definition, now).start
        if start <= self.period_start:
            return self
        epoch = self.epoch + 1
        return replace(self, epoch=epoch, base_epoch=epoch, period_start=start)

    def redefined(self, definition: Limit, now: datetime, *, renews_total: bool) -> LimitRecord:
        """The state with a new definition; everything that is charged stays charged.

        A quota in total begins anew, unless ``renews_total`` is false.
        """
        if not isinstance(definition, QuotaLimit):
            return replace(self, definition=definition)
        if definition.period == "total" and renews_total:
            return replace(self, definition=definition).renewed(now)
        if not isinstance(self.definition, QuotaLimit):
            # The state of a former quota of this name, if there was one.
            changed = replace(self, definition=definition, generation=self.generation + 1)
            begun = changed.advanced(now)
            return begun if begun.epoch > self.epoch else replace(begun, epoch=self.epoch + 1)
        present = self.advanced(now)
        if definition == self.definition:
            return present
        return replace(
            present,
            definition=definition,
            generation=present.generation + 1,
            epoch=present.epoch + 1,
            period_start=max(present.period_start, period_at(definition, now).start),
        )

    def renewed(self, now: datetime) -> LimitRecord:
        """The state of a quota that begins anew, in the period of ``now``."""
        if not isinstance(self.definition, QuotaLimit):
            return self
        epoch = self.epoch + 1
        return replace(
            self,
            generation=self.generation + 1,
            epoch=epoch,
            base_epoch=epoch,
            period_start=period_at(self.definition, now).start,
        )

    @property
    def stored(self) -> StoredLimit:
        """The limit as its holder has it."""
        is_quota = isinstance(self.definition, QuotaLimit)
        return StoredLimit(self.id, self.definition, self.generation if is_quota else 0)

    def until(self, now: datetime) -> datetime | None:
        """The end of the present period of a quota."""
        if not isinstance(self.definition, QuotaLimit):
            return None
        return period_at(self.definition, max(now, self.period_start)).end


def begun(number: int, holder: str, mode: str, definition: Limit, now: datetime) -> LimitRecord:
    """The state of a limit that has never been used."""
    start = now
    if isinstance(definition, QuotaLimit):
        start = period_at(definition, now).start
    return LimitRecord(number, holder, mode, definition.name, definition, 1, 1, 1, start)


class Decision(NamedTuple):
    """The outcome of a request for units: what has to be stored, and the answer.

    ``rows`` are the new amounts of the segment, by epoch.
    """

    state: LimitRecord
    rows: dict[int, int]
    reservation: Reservation


def reserve(
    state: LimitRecord,
    reserved: Mapping[tuple[int, str], int],
    segment: str,
    cost: int,
    now: datetime,
    held: Held | None,
) -> Decision:
    """Reserve units for a segment so that it can spend ``cost``, if there are enough.

    ``reserved`` are the stored amounts by epoch and segment. ``held`` is what the segment has in
    memory. It may be ahead of the database if that was put back; then it is charged first.
    """
    quota = state.definition
    if not isinstance(quota, QuotaLimit):
        raise TypeError("a rate has no reservations")
    state = state.advanced(now)
    rows: dict[int, int] = {}
    spent = 0
    if held is not None:
        ahead = _distance(held.epoch, state.epoch)
        if ahead >= 0:
            epoch = state.epoch + ahead
            rows[epoch] = max(held.granted, reserved.get((epoch, segment), 0))
            if ahead:
                state = replace(state, epoch=epoch + 1)
            else:
                spent = held.spent
    amounts = {key: units for key, units in reserved.items() if key[0] >= state.base_epoch}
    amounts.update({(epoch, segment): units for epoch, units in rows.items()})
    used = sum(amounts.values())
    own = amounts.get((state.epoch, segment), 0)
    missing = cost - (own - spent)
    if missing > 0:
        room = max(0, quota.quota - used)
        if room >= missing:
            granted = min(room, max(missing, min(_at_once(quota), max(1, room // _PART_OF_ROOM))))
            own += granted
            used += granted
            missing = 0
    if own != reserved.get((state.epoch, segment), 0):
        rows[state.epoch] = own
    answer = Reservation(
        *(state.epoch, state.generation, own, state.until(now), quota.quota, used),
        suffices=missing <= 0,
    )
    changed = {
        epoch: units for epoch, units in rows.items() if units != reserved.get((epoch, segment), 0)
    }
    return Decision(state, changed, answer)


def use_of(
    state: LimitRecord, reserved: Mapping[tuple[int, str], int], now: datetime
) -> QuotaUse | None:
    """The use of a quota at ``now``; None for a rate."""
    if not isinstance(state.definition, QuotaLimit):
        return None
    present = state.advanced(now)
    used = sum(units for (epoch, _), units in reserved.items() if epoch >= present.base_epoch)
    return QuotaUse(
        present.definition if isinstance(present.definition, QuotaLimit) else state.definition,
        *(present.epoch, present.generation, present.until(now), used),
    )


def has_tag(epoch: int, tag: int) -> bool:
    """Whether an epoch is the one that memory keeps as ``tag``, or that it is itself."""
    return epoch % EPOCH_TAGS == tag % EPOCH_TAGS


def _at_once(quota: QuotaLimit) -> int:
    return max(1, min(_MOST_AT_ONCE, quota.quota // _PART))


def _distance(tag: int, epoch: int) -> int:
    """How far the epoch with a tag is after another one; negative if it is before it."""
    half = EPOCH_TAGS // 2
    return (tag - epoch + half) % EPOCH_TAGS - half
