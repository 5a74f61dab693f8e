"""What is left of segments that ended: in memory if they cannot be read, and in the database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fastcache.shared import Quota, QuotaState, Segment, SegmentError, SegmentUnusable
from latchkey.box.registration import stop_box
from latchkey.box.shared import SharedState, Word
from latchkey.box.use_counts import LiveTallies
from latchkey.credentials.quotas import Spent
from latchkey.store.protocols import Store


def discarded(path: str, error: SegmentError) -> bool:
    """Remove an unreadable segment of this user, such as one of another version."""
    if not isinstance(error, SegmentUnusable):
        return False
    if not Path(path).name.startswith(f"latchkey-{os.geteuid()}-"):
        return False
    try:
        return Segment.discard(path)
    except SegmentError:
        return False


def persist_counts(segment: Segment, store: Store) -> int:
    """Persist what a segment has counted, unless it was forgotten; returns its box's id, or 0."""
    shared = SharedState.over(segment)
    store.usage.flush(segment.uuid, LiveTallies(shared).unwritten(), datetime.now(UTC))
    return shared.words.value(Word.BOX)


def give_back_unspent(segment: Segment, store: Store) -> None:
    """Give back the units of quotas that a segment has not spent; raises StoreError.

    No process may spend from it any more. A repeated call changes nothing.
    """
    spent: list[Spent] = []
    for row, state in _published(segment):
        # A worker may have been killed before it published the first units of the next epoch.
        spent += [Spent(row, state.epoch_tag, state.spent), Spent(row, state.epoch_tag + 1, 0)]
    store.limits.give_back_all(segment.uuid, spent)


def keep_unspent(segment: Segment) -> None:
    """Make the unspent units of a segment unusable: they may have been given back already."""
    quotas = SharedState.over(segment).limits.quotas
    for row, state in _published(segment):
        if state.spent < state.granted:
            quotas.spend(Quota(row, state.generation), state.granted - state.spent, 0)


def _published(segment: Segment) -> Iterator[tuple[int, QuotaState]]:
    """The quotas of which units were published, by their row."""
    quotas = SharedState.over(segment).limits.quotas
    for row in range(quotas.backed_rows):
        state = quotas.state(row)
        if any(state):
            yield row, state


def note_end(store: Store, segment: str, box_id: int) -> None:
    """Tell the database that a segment was removed, and its box with it; raises StoreError.

    Only this segment's watermarks are deleted: other boxes may use the database, and their uses
    would be counted twice without theirs.
    """
    stop_box(store, box_id)
    store.usage.forget_segment(segment)
