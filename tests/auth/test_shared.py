"""State that workers share: use counts, and blocks that a successor continues."""

from __future__ import annotations

import gc
import time

import pytest

from fastcache.shared import Segment
from latchkey.box.counter_names import Count, Gauge, Use
from latchkey.box.shared import FOREVER, SMALLEST, SharedState, Word
from latchkey.box.worker_metrics import Totals
from tests.support.auth.shared_box import SharedBox, through
from tests.support.auth.worker import api_key

# ---- Use counts


def test_uses_are_summed_and_outlive_a_worker(box: SharedBox) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    row = first.service.get(api_key(secret), None).id
    for worker in (first, second, first):
        assert through(worker, secret) == "ok"
    first.authenticator.shared.count_use(row)
    uses = box.attach().uses
    assert uses.value(row, Use.USES) == 4
    assert time.time() - uses.value(row, Use.LAST_USED) / 1000 < 60


def test_rows_are_allocated_as_needed(box: SharedBox) -> None:
    state, other = box.attach(), box.attach()
    beyond = state.uses.backed_rows
    assert state.make_room(beyond - 1)
    assert state.uses.backed_rows == beyond
    state.count_use(beyond + 5)
    assert other.uses.backed_rows > beyond + 5
    assert other.uses.value(beyond + 5, Use.USES) == 1
    # Beyond the maximum, only counts are lost.
    assert not state.make_room(state.uses.rows)
    state.count_use(state.uses.rows)
    assert state.claim_block().counters.value(Count.UNCOUNTED) == 1


def test_private_state_needs_no_segment() -> None:
    state = SharedState.private()
    assert state.l2 is None
    assert state.segment is None
    state.count_use(3)
    state.count_refusal(3, Use.SCOPE)
    assert state.uses.row(3)[Use.USES] == state.uses.row(3)[Use.SCOPE] == 1
    state.count_use(1 << 40)
    assert state.worker_metrics.totals().counts[Count.UNCOUNTED] == 1
    assert state.has_lease()
    words = {word: state.words.value(word) for word in Word}
    assert words == {**dict.fromkeys(Word, 0), Word.FRESH_UNTIL: FOREVER}


def test_a_segment_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        SharedState.regions(SMALLEST - 1)
    for size in (SMALLEST, 32 << 20):
        regions = SharedState.regions(size)
        backed = sum(region.size for region in regions.values())
        assert size - (1 << 16) < backed <= size
        assert regions["l2"].size > size // 4


# ---- Blocks


def _work_in_a_block_and_end(box: SharedBox, other: SharedState) -> Totals:
    """The totals of the blocks while a worker has requests in flight; then it ends."""
    with Segment.attach(box.segment.path) as segment:
        state = SharedState.over(segment)
        block = state.claim_block()
        assert state.claim_block() is block
        block.counters.add(Count.AUTHENTICATED, 5)
        block.counters.add(Count.STARTED, 3)
        block.counters.add(Count.FINISHED, 1)
        block.set_entries(10, 20)
        block.set_evictions(4, 6)
        block.latencies.observe("account", 200, 70_000)
        return other.worker_metrics.totals()


def test_a_successor_continues_a_block(box: SharedBox) -> None:
    other = box.attach()
    theirs = other.claim_block()
    theirs.counters.add(Count.AUTHENTICATED, 7)
    theirs.latencies.observe("account", 200, 10**12)
    before = _work_in_a_block_and_end(box, other)
    assert before.counts[Count.AUTHENTICATED] == 12
    assert before.in_flight == 2
    assert before.gauges == {Gauge.KNOWN: 10, Gauge.UNKNOWN: 20}
    series = before.series["account", 200]
    assert (series[1], series[-2], series[-1]) == (1, 1, 10**12 + 70_000)
    # Its counters stay; its requests in flight and its cache entries do not.
    gc.collect()
    ended = other.worker_metrics.totals()
    assert (ended.counts, ended.series) == (before.counts, before.series)
    assert (ended.in_flight, ended.gauges[Gauge.KNOWN]) == (0, 0)
    successor = box.attach()
    block = successor.claim_block()
    assert block.counters.value(Count.AUTHENTICATED) == 5
    assert block.in_flight == 0
    block.set_evictions(1, 0)
    block.latencies.observe("account", 200, 1)
    block.latencies.observe("account", 404, 1)
    after = other.worker_metrics.totals()
    assert after.counts[Count.EVICTED_KNOWN] == 5
    assert after.counts[Count.EVICTED_UNKNOWN] == 6
    assert after.in_flight == 0
    assert sum(after.series["account", 200][:-1]) == 3
    assert sum(after.series["account", 404][:-1]) == 1


def test_workers_beyond_the_blocks_share_one(
    box: SharedBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [box.attach() for _ in range(3)]
    for state in states:
        monkeypatch.setattr(
            state.worker_metrics, "_claim", lambda state=state: state.worker_metrics._block(0)
        )
        state.claim_block().counters.add(Count.OPEN, 2)
        state.claim_block().counters.add(Count.STARTED)
    totals = box.attach().worker_metrics.totals()
    assert totals.counts[Count.OPEN] == 6
    # It is unknown whether the workers that started them are alive.
    assert totals.in_flight == 0
