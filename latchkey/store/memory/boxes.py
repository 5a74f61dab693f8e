"""The boxes that share a store in memory. They are told of no changes, so they poll."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from datetime import datetime

from latchkey.credentials.models import Invalidation
from latchkey.credentials.times import to_milliseconds, utc_now
from latchkey.store.memory.state import MemoryDatabase, State
from latchkey.store.memory.usage import forget_segment
from latchkey.store.protocols.boxes import Box, BoxStore, Confirmation, NewBox, Wakeups

_MOST_ROWS = 10_000


class MemoryBoxStore:
    """The boxes of one database."""

    revision = "memory"

    def __init__(self, database: MemoryDatabase, clock: Callable[[], datetime] = utc_now) -> None:
        """``clock`` is that of the database."""
        self._database = database
        self._clock = clock

    def log_from(self, number: int) -> list[Invalidation]:
        rows = [row for row in self._database.committed.invalidations if row.number >= number]
        return rows[:_MOST_ROWS]

    def count_after(self, numbers: Collection[int]) -> dict[int, int]:
        return {number: len(self.log_from(number + 1)) for number in numbers}

    def last_row(self) -> Invalidation | None:
        rows = self._database.committed.invalidations
        return rows[-1] if rows else None

    def register(self, box: NewBox, replaces: Collection[str] = ()) -> None:
        def transaction(state: State) -> None:
            for box_id in replaces:
                _update(state, box_id, live=False)
            given = {field.name: getattr(box, field.name) for field in fields(NewBox)}
            new = Box(**given, live=True, stopped_at=None, unseen_ms=0)
            state.boxes[box.id] = (new, self._now())

        self._database.change(transaction)

    def confirm(self, box_id: str, number: int, nonce: int, lease_ms: int) -> Confirmation:
        def transaction(state: State) -> Confirmation:
            if box_id not in state.boxes:
                return Confirmation.FORGOTTEN
            box, _ = state.boxes[box_id]
            if not box.live:
                return Confirmation.CUT_OFF
            if number and (number, nonce) not in _places(state):
                return Confirmation.REWOUND
            if box.lease_ms < lease_ms:
                return Confirmation.SHORTER_LEASE
            confirmed = replace(box, confirmed=max(box.confirmed, number))
            state.boxes[box_id] = (confirmed, self._now())
            return Confirmation.MADE

        return self._database.change(transaction)

    def stop(self, box_id: str) -> None:
        self._database.change(
            lambda state: _update(state, box_id, live=False, stopped_at=self._clock())
        )

    def live(self) -> list[Box]:
        return [box for box in self.registered() if box.live]

    def unconfirmed(self, box_ids: Collection[str], number: int) -> set[str]:
        known = {box.id: box for box in self.registered()}
        return {
            box_id
            for box_id in box_ids
            if box_id not in known
            or (known[box_id].stopped_at is None and known[box_id].confirmed < number)
        }

    def mark_dead(self, box_ids: Collection[str], number: int) -> int:
        def transaction(state: State) -> int:
            dead = [
                box_id
                for box_id in box_ids
                if box_id in state.boxes
                and state.boxes[box_id][0].live
                and state.boxes[box_id][0].confirmed < number
            ]
            for box_id in dead:
                _update(state, box_id, live=False)
            return len(dead)

        return self._database.change(transaction)

    def registered(self) -> list[Box]:
        now = self._now()
        found = [
            replace(box, unseen_ms=max(0, now - seen_at))
            for box, seen_at in self._database.committed.boxes.values()
        ]
        return sorted(found, key=lambda box: (box.name, box.started_at, box.id))

    def forget(self, before: datetime) -> int:
        def transaction(state: State) -> int:
            old = [
                box_id
                for box_id, (box, seen_at) in state.boxes.items()
                if not box.live and seen_at < to_milliseconds(before)
            ]
            segments = {state.boxes.pop(box_id)[0].segment for box_id in old}
            kept = {box.segment for box, _ in state.boxes.values()}
            for segment in segments - kept - {""}:
                forget_segment(state, segment)
            return len(old)

        return self._database.change(transaction)

    def is_same_as(self, other: BoxStore) -> bool:
        return isinstance(other, MemoryBoxStore) and self._database is other._database

    def is_pooled(self) -> bool:
        return False

    def open_wakeups(self) -> Wakeups | None:
        return None

    def _now(self) -> int:
        return to_milliseconds(self._clock())


def _places(state: State) -> set[tuple[int, int]]:
    return {(row.number, row.nonce) for row in state.invalidations}


def _update(state: State, box_id: str, **changes: object) -> None:
    if box_id in state.boxes:
        box, seen_at = state.boxes[box_id]
        state.boxes[box_id] = (replace(box, **changes), seen_at)  # type: ignore[arg-type]
