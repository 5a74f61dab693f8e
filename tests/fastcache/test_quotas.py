"""QuotaTable: exact against a plain model, over threads, and over processes that are killed."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import Quota, QuotaState, QuotaTable, Segment
from fastcache.shared import Region as SegmentRegion
from tests.support.fastcache.children import Child

FOREVER = 65_535
TAGS = 1 << 24
MOST = (1 << 40) - 1


@pytest.fixture
def table() -> QuotaTable:
    return QuotaTable(4)


def test_nothing_is_spent_before_it_was_granted(table: QuotaTable) -> None:
    quota = Quota(2, 7, 10)
    assert table.spend(quota, 1, 100) is None
    assert table.publish(2, 5, 7, 3, 200) is None
    assert [table.spend(quota, 1, 100) for _ in range(4)] == [True, True, True, None]
    assert table.publish(2, 5, 7, 10, 200) is None
    assert [table.spend(quota, cost, 199) for cost in (6, 2, 1, 1)] == [True, False, True, False]
    assert table.state(2) == QuotaState(5, 10, 10, 7, 200, 0)


def test_a_quota_of_unknown_amount_always_asks_for_more(table: QuotaTable) -> None:
    table.publish(0, 1, 1, 1, FOREVER)
    assert table.spend(Quota(0, 1), 1, 100) is True
    assert table.spend(Quota(0, 1), 1, 100) is None


def test_a_cost_above_the_quota_is_refused_at_once(table: QuotaTable) -> None:
    assert table.spend(Quota(0, 1, 5), 6, 100) is False
    assert table.spend(Quota(0, 1, 5), (1 << 64) - 1, 100) is False
    table.publish(0, 1, 1, 5, FOREVER)
    assert table.spend(Quota(0, 1), (1 << 64) - 1, 100) is None
    assert table.state(0).spent == 0


def test_a_period_ends_at_the_beginning_of_its_last_day(table: QuotaTable) -> None:
    quota = Quota(0, 1, 5)
    table.publish(0, 1, 1, 5, 101)
    assert table.spend(quota, 1, 100) is True
    for day in (101, 102, FOREVER - 1):
        assert table.spend(quota, 1, day) is None
    table.publish(1, 1, 1, 5, FOREVER)
    assert table.spend(Quota(1, 1, 5), 1, FOREVER - 1) is True


def test_another_generation_asks_for_more(table: QuotaTable) -> None:
    table.publish(0, 1, 2, 5, FOREVER)
    for generation in (1, 3):
        assert table.spend(Quota(0, generation, 5), 1, 100) is None
    # Only the lowest 24 bits are known.
    assert table.spend(Quota(0, 2 + TAGS, 5), 1, 100) is True


def test_a_new_epoch_starts_from_nothing_and_returns_what_was_spent(table: QuotaTable) -> None:
    quota = Quota(0, 1, 9)
    table.publish(0, 3, 1, 9, 101, 4)
    table.spend(quota, 5, 100)
    assert table.publish(0, 4, 1, 2, 102, 6) == (3, 5)
    assert table.publish(0, 4, 1, 2, 102, 6) is None
    assert table.state(0) == QuotaState(4, 0, 2, 1, 102, 6)
    assert table.spend(quota, 2, 101) is True


def test_a_grant_that_was_not_touched_can_be_given_back(table: QuotaTable) -> None:
    table.publish(0, 0, 1, 9, 101)
    assert table.publish(0, 1, 1, 9, 102) == (0, 0)


def test_an_older_epoch_and_a_smaller_grant_change_nothing(table: QuotaTable) -> None:
    table.publish(0, 3, 1, 9, 101, 4)
    table.spend(Quota(0, 1, 9), 5, 100)
    before = table.state(0)
    assert table.publish(0, 2, 9, 1_000, FOREVER, 5) is None
    assert table.publish(0, 3, 1, 8, 101, 4) is None
    assert table.state(0) == before


@pytest.mark.parametrize("published", [(2,), (2, 1)])
def test_a_publication_that_was_cut_off_is_completed_by_the_next(published: tuple[int]) -> None:
    """A process was killed after it raised the first or the second word."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    table = QuotaTable(1, memory=memory)
    quota = Quota(0, 1, 9)
    table.publish(0, 1, 1, 9, 101)
    table.spend(quota, 4, 100)
    words = list(struct.unpack("4Q", memory[:32]))
    new = {1: 2 << 40 | 9, 2: 2 << 40 | 1 << 16 | 102}
    for number in published:
        words[number] = new[number]
    memory[:32] = struct.pack("4Q", *words)
    assert table.spend(quota, 1, 100) is None
    assert table.state(0).spent == 0
    assert table.publish(0, 2, 1, 9, 102) == (1, 4)
    assert table.spend(quota, 9, 101) is True


@dataclass
class Model:
    """A row without words or bits."""

    epoch: int = 0
    generation: int = 0
    granted: int = 0
    until: int = 0
    spent: int = 0
    touched: bool = False
    total: dict[int, int] = field(default_factory=dict)
    most: dict[int, int] = field(default_factory=dict)

    def spend(self, quota: Quota, cost: int, day: int) -> bool | None:
        if quota.amount is not None and cost > quota.amount:
            return False
        if quota.generation != self.generation or day >= self.until:
            return None
        if self.spent + cost > self.granted:
            return False if quota.amount and self.granted >= quota.amount else None
        self.spent += cost
        self.total[self.epoch] = self.total.get(self.epoch, 0) + cost
        return True

    def publish(self, epoch: int, granted: int) -> tuple[int, int] | None:
        # All publications of an epoch have one definition.
        generation, until = epoch // 2, 100 + epoch
        if epoch < self.epoch:
            return None
        self.most[epoch] = max(granted, self.most.get(epoch, 0))
        ended = None
        if epoch > self.epoch:
            if self.touched:
                ended = (self.epoch, self.spent)
            self.spent = self.granted = 0
        self.epoch, self.generation, self.until = epoch, generation, until
        self.granted = max(self.granted, granted)
        self.touched |= epoch > 0 or granted > 0
        return ended


steps = st.one_of(
    st.tuples(
        st.just("spend"),
        st.integers(0, 4),
        st.sampled_from([None, 3, 10]),
        st.integers(1, 12),
        st.integers(99, 106),
    ),
    st.tuples(st.just("publish"), st.integers(0, 8), st.integers(0, 12)),
)


@given(st.lists(steps, max_size=40))
def test_a_row_is_the_model(taken: list[tuple[object, ...]]) -> None:
    table, model = QuotaTable(1), Model()
    for kind, *given_ in taken:
        if kind == "spend":
            generation, amount, cost, day = given_
            quota = Quota(0, generation, amount)  # type: ignore[arg-type]
            assert table.spend(quota, cost, day) is model.spend(quota, cost, day)  # type: ignore[arg-type]
        else:
            epoch, granted = given_
            ended = table.publish(0, epoch, epoch // 2, granted, 100 + epoch)  # type: ignore[arg-type, operator]
            assert ended == model.publish(epoch, granted)  # type: ignore[arg-type]
        state = table.state(0)
        assert (state.epoch_tag, state.spent, state.granted) == (
            model.epoch,
            model.spent,
            model.granted,
        )
    assert all(spent <= model.most[epoch] for epoch, spent in model.total.items())


def test_the_largest_numbers_fit(table: QuotaTable) -> None:
    quota = Quota(0, TAGS - 1, MOST)
    table.publish(0, TAGS - 1, TAGS - 1, MOST, FOREVER, MOST)
    assert table.state(0) == QuotaState(TAGS - 1, 0, MOST, TAGS - 1, FOREVER, MOST)
    assert table.spend(quota, MOST, 0) is True
    assert table.spend(quota, 1, 0) is False
    assert table.state(0).spent == MOST
    assert table.state(1) == (0,) * 6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda table: Quota(-1, 1), ValueError, "row"),
        (lambda table: Quota(0, 1, 0), ValueError, "amount"),
        (lambda table: Quota(0, 1, MOST + 1), ValueError, "amount"),
        (lambda table: Quota(0, 1).__init__(0, 1), RuntimeError, "already"),
        (lambda table: table.spend(5, 1, 1), TypeError, "Quota"),
        (lambda table: table.spend(Quota(4, 1), 1, 1), IndexError, "backed"),
        (lambda table: table.spend(Quota(0, 1), 0, 1), ValueError, "cost"),
        (lambda table: table.publish(4, 1, 1, 1, 1), IndexError, "backed"),
        (lambda table: table.publish(0, 1, 1, MOST + 1, 1), ValueError, "granted"),
        (lambda table: table.publish(0, 1, 1, 1, FOREVER + 1), ValueError, "until_day"),
        (lambda table: table.publish(0, 1, 1, 1, 1, MOST + 1), ValueError, "elsewhere"),
        (lambda table: table.state(4), IndexError, "backed"),
        (lambda table: table.__init__(4), RuntimeError, "already"),
    ],
)
def test_invalid_calls_are_refused(
    table: QuotaTable,
    call: Callable[[QuotaTable], object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        call(table)


def test_an_uninitialised_table_refuses_every_call() -> None:
    table = QuotaTable.__new__(QuotaTable)
    calls: list[Callable[[], object]] = [
        lambda: table.rows,
        lambda: table.backed_rows,
        lambda: table.state(0),
        lambda: table.spend(Quota(0, 1), 1, 1),
        lambda: table.publish(0, 1, 1, 1, 1),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="not initialised"):
            call()


def test_quotas_compare_by_value() -> None:
    assert Quota(1, 2, 3) == Quota(1, 2, 3) != Quota(1, 2)
    assert Quota(1, 2, 3) != (1, 2, 3)
    assert len({Quota(1, 2, 3), Quota(1, 2, 3), Quota(1, 3, 3)}) == 2
    assert repr(Quota(1, 2)) == "Quota(row=1, generation=2, amount=None)"


def test_rows_are_usable_up_to_what_is_backed(tmp_path: object) -> None:
    with Segment.create(
        f"{tmp_path}/segment", {"quotas": SegmentRegion(mmap.PAGESIZE, 1 << 20)}
    ) as segment:
        table = QuotaTable(
            1 << 15, memory=segment.memory("quotas"), backed=segment.backed_word("quotas")
        )
        first = mmap.PAGESIZE // 32
        assert (table.rows, table.backed_rows) == (1 << 15, first)
        with pytest.raises(IndexError):
            table.publish(first, 1, 1, 5, FOREVER)
        segment.grow("quotas", 2 * mmap.PAGESIZE)
        table.publish(first, 1, 1, 5, FOREVER)
        assert table.spend(Quota(first, 1), 5, 1) is True
        segment.remove()


def test_threads_together_spend_exactly_the_grant() -> None:
    table = QuotaTable(1)
    quota = Quota(0, 1, 4_000)
    table.publish(0, 1, 1, 4_000, FOREVER)
    spent: list[int] = []
    ended: list[tuple[int, int]] = []

    def work() -> None:
        count = 0
        while table.spend(quota, 1, 1):
            count += 1
        spent.append(count)
        found = table.publish(0, 2, 1, 5, FOREVER)
        if found is not None:
            ended.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A thread that was late spent some units of the second epoch.
    assert ended == [(1, 4_000)]
    assert sum(spent) == 4_000 + table.state(0).spent


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        yield shared


def await_units(counts: memoryview, units: int) -> None:
    deadline = time.monotonic() + 60
    while sum(counts) < units:
        assert time.monotonic() < deadline, "the processes spend nothing"
        time.sleep(0.001)


def test_killed_and_stopped_processes_hold_up_nobody(memory: mmap.mmap, long: bool) -> None:
    """Eight processes spend and publish; some are killed or stopped while they do."""
    total = 400_000 if long else 40_000
    table = QuotaTable(1, memory=memory)
    quota = Quota(0, 1, total)
    counts = memoryview(memory)[1024 : 1024 + 64].cast("Q")

    def work(number: int) -> None:
        while True:
            spent = table.spend(quota, 1, 1)
            if spent:
                counts[number] += 1
            elif spent is None:
                # What a database would have granted: never less than before.
                granted = min(total, table.state(0).granted + 13)
                table.publish(0, 1, 1, granted, FOREVER)
            else:
                return

    chosen = random.Random(total)
    children = [Child(lambda number=number: work(number)) for number in range(8)]  # type: ignore[misc]
    killed = stopped = 0
    try:
        for part in range(1, 6):
            await_units(counts, total * part // 8)
            child = children[chosen.randrange(2, 8)]
            if child.status is not None:
                continue
            if part % 2:
                child.kill()
                killed += 1
            else:
                os.kill(child.pid, signal.SIGSTOP)
                stopped += 1
        # Two are never disturbed: they finish, whatever the others were doing.
        assert [child.wait() for child in children[:2]] == [0, 0]
    finally:
        for child in children:
            child.kill()
    state = table.state(0)
    assert (state.spent, state.granted) == (total, total)
    # A process that ended between spending and counting has not counted one unit.
    assert total - killed - stopped <= sum(counts) <= total
    counts.release()
