"""RateTable: exact against a plain model, and over threads."""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import Level, Rate, RateTable, Segment, Taken
from fastcache.shared import Region as SegmentRegion

YEAR = 366 * 86_400 * 10**9


class Clock:
    """A clock that only tests move."""

    def __init__(self, now: int = 1) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(10**15)


@pytest.fixture
def table(clock: Clock) -> RateTable:
    return RateTable(8, timer=clock)


def test_a_burst_is_admitted_at_once_and_then_one_per_interval(
    table: RateTable, clock: Clock
) -> None:
    rate = Rate(0, 10, 3)
    assert [table.take((rate,)).refused_by for _ in range(4)] == [None, None, None, 0]
    assert table.take((rate,)) == Taken(clock.now, 0, 10)
    clock.now += 9
    assert table.take((rate,)) == Taken(clock.now, 0, 1)
    clock.now += 1
    assert table.take((rate,)) == Taken(clock.now)
    assert table.take((rate,)) == Taken(clock.now, 0, 10)


def test_a_refusal_spends_nothing(table: RateTable, clock: Clock) -> None:
    rate = Rate(0, 10, 2)
    assert table.take((rate,), 2) == Taken(clock.now)
    for _ in range(100):
        assert table.take((rate,), 2) == Taken(clock.now, 0, 20)
    clock.now += 20
    assert table.take((rate,), 2) == Taken(clock.now)


def test_a_cost_above_the_burst_is_never_admitted(table: RateTable, clock: Clock) -> None:
    rate = Rate(0, 10, 2)
    assert table.take((rate,), 3) == Taken(clock.now, 0, None)
    assert table.level(rate) == Level(2, 0)


def test_the_level_counts_whole_units(table: RateTable, clock: Clock) -> None:
    rate = Rate(0, 10, 3)
    assert table.level(rate) == Level(3, 0)
    table.take((rate,), 2)
    assert table.level(rate) == Level(1, 20)
    clock.now += 9
    assert table.level(rate) == Level(1, 11)
    clock.now += 1
    assert table.level(rate) == Level(2, 10)
    clock.now += YEAR
    assert table.level(rate) == Level(3, 0)


def test_all_rates_must_admit_or_none_is_taken_from(table: RateTable, clock: Clock) -> None:
    wide, narrow = Rate(0, 10, 5), Rate(1, 1000, 1)
    assert table.take((wide, narrow)).refused_by is None
    assert table.take((wide, narrow)) == Taken(clock.now, 1, 1000)
    assert table.level(wide) == Level(4, 10)


def test_what_was_taken_is_given_back_if_a_later_rate_refuses(clock: Clock) -> None:
    """Another process takes the last unit of the second rate after both were asked."""
    wide, narrow = Rate(0, 10, 5), Rate(1, 1000, 1)
    readings = 0

    def timer() -> int:
        nonlocal readings
        readings += 1
        # The third reading decides about the second rate.
        if readings == 3:
            other.take((narrow,))
        return clock.now

    memory = bytearray(64)
    other = RateTable(8, memory=memory, timer=clock)
    table = RateTable(8, memory=memory, timer=timer)
    # The word was loaded before the reading, so the exchange fails, and the clock is read again.
    assert table.take((wide, narrow)) == Taken(clock.now, 1, 1000)
    assert readings == 4
    assert other.level(wide) == Level(5, 0)
    assert other.level(narrow) == Level(0, 1000)


def test_what_changed_meanwhile_stays_spent(clock: Clock) -> None:
    """It cannot be told apart from what the other process took."""
    wide, narrow = Rate(0, 10, 5), Rate(1, 1000, 1)
    readings = 0

    def timer() -> int:
        nonlocal readings
        readings += 1
        if readings == 3:
            other.take((wide, narrow))
        return clock.now

    memory = bytearray(64)
    other = RateTable(8, memory=memory, timer=clock)
    table = RateTable(8, memory=memory, timer=timer)
    assert table.take((wide, narrow)).refused_by == 1
    assert other.level(wide) == Level(3, 20)


def test_the_clock_is_read_again_if_the_exchange_fails(clock: Clock) -> None:
    """A process that was stopped between its reading and its exchange decides by a new reading."""
    rate = Rate(0, 10, 1)
    memory = bytearray(64)
    other = RateTable(8, memory=memory, timer=clock)
    moves: Iterator[Callable[[], object]] = iter([lambda: other.take((rate,)), lambda: None])

    def timer() -> int:
        now = clock.now
        next(moves)()
        return now

    table = RateTable(8, memory=memory, timer=timer)
    assert table.take((rate,)) == Taken(clock.now, 0, 10)


def test_rows_are_apart_and_equal_rows_share(table: RateTable) -> None:
    one, same, other = Rate(0, 10, 1), Rate(0, 10, 1), Rate(1, 10, 1)
    assert table.take((one,)).refused_by is None
    assert table.take((same,)).refused_by == 0
    assert table.take((other,)).refused_by is None
    table.reset(0)
    assert table.take((same,)).refused_by is None


def test_a_smaller_rate_begins_empty_after_a_larger_one(table: RateTable, clock: Clock) -> None:
    table.take((Rate(0, 10, 100),), 100)
    smaller = Rate(0, 10, 10)
    assert table.level(smaller) == Level(0, 100)
    assert table.take((smaller,)) == Taken(clock.now, 0, 10)
    clock.now += 10
    assert table.take((smaller,)) == Taken(clock.now)


@pytest.mark.parametrize("beside", [(), (Rate(1, 1, 1),)])
def test_a_faster_rate_does_not_wait_for_the_slower_one_before(
    table: RateTable, clock: Clock, beside: tuple[Rate, ...]
) -> None:
    hourly, quick = Rate(0, 1_200, 3), Rate(0, 6, 20)
    assert table.take((hourly,), 3).refused_by is None
    assert table.take((*beside, quick)) == Taken(clock.now, len(beside), 6)
    clock.now += 12
    assert table.take((*beside, quick), 1).refused_by is None
    assert table.level(quick) == Level(1, 114)


def test_a_damaged_word_refuses_until_the_bucket_is_full_again(clock: Clock) -> None:
    memory = bytearray(struct.pack("=Q", 2**64 - 1))
    table = RateTable(1, memory=memory, timer=clock)
    rate = Rate(0, YEAR, 1)
    assert table.level(rate).remaining == 0
    assert table.take((rate,)) == Taken(clock.now, 0, YEAR)
    assert memory == struct.pack("=Q", clock.now + YEAR)


def test_the_longest_rate_is_exact(clock: Clock) -> None:
    table = RateTable(1, timer=clock)
    rate = Rate(0, 1, YEAR)
    assert table.take((rate,), YEAR) == Taken(clock.now)
    assert table.take((rate,)) == Taken(clock.now, 0, 1)
    clock.now += YEAR
    assert table.level(rate) == Level(YEAR, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 1), "interval must be >= 1"),
        ((0, 1, 0), "burst must be >= 1"),
        ((-1, 1, 1), "row must be >= 0"),
        ((0, -1, 1), "interval must be >= 0"),
        ((0, 1, -1), "burst must be >= 0"),
        ((0, 1, YEAR + 1), "at most 366 days"),
        ((0, YEAR, 2), "at most 366 days"),
    ],
)
def test_invalid_rates_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rate(*arguments)


def test_invalid_calls_are_refused(table: RateTable) -> None:
    rate = Rate(0, 1, 1)
    with pytest.raises(ValueError, match="cost must be >= 1"):
        table.take((rate,), 0)
    with pytest.raises(ValueError, match="at most 16"):
        table.take((rate,) * 17)
    with pytest.raises(TypeError, match="must be a tuple"):
        table.take([rate])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must contain Rate objects"):
        table.take((rate, None))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a Rate"):
        table.level(None)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="row 8 is not backed"):
        table.take((Rate(8, 1, 1),))
    with pytest.raises(IndexError, match="row 8 is not backed"):
        table.reset(8)
    with pytest.raises(TypeError, match="timer must be callable"):
        RateTable(1, timer=1)  # type: ignore[arg-type]
    assert table.take(()).refused_by is None


def test_an_uninitialised_table_refuses_every_call() -> None:
    table = RateTable.__new__(RateTable)
    rate = Rate(0, 1, 1)
    for call in (
        lambda: table.take((rate,)),
        lambda: table.level(rate),
        lambda: table.reset(0),
        lambda: table.rows,
        lambda: table.backed_rows,
    ):
        with pytest.raises(RuntimeError, match="not initialised"):
            call()
    uninitialised = Rate.__new__(Rate)
    assert RateTable(1).take((uninitialised,)).refused_by == 0


def test_rates_compare_by_value() -> None:
    assert Rate(1, 2, 3) == Rate(1, 2, 3)
    assert hash(Rate(1, 2, 3)) == hash(Rate(1, 2, 3))
    assert Rate(1, 2, 3) != Rate(1, 2, 4)
    assert Rate(1, 2, 3) != (1, 2, 3)
    assert repr(Rate(1, 2, 3)) == "Rate(row=1, interval=2, burst=3)"


def test_rows_are_usable_up_to_what_is_backed() -> None:
    page = mmap.PAGESIZE
    with Segment.create_nameless({"rates": SegmentRegion(page, 4 * page)}) as segment:
        table = RateTable(
            4 * page // 8, memory=segment.memory("rates"), backed=segment.backed_word("rates")
        )
        assert (table.rows, table.backed_rows) == (4 * page // 8, page // 8)
        beyond = Rate(page // 8, 1, 1)
        with pytest.raises(IndexError, match="not backed"):
            table.take((beyond,))
        segment.grow("rates", 2 * page)
        assert table.take((beyond,)).refused_by is None


costs = st.integers(1, 5) | st.integers(1, 10**6)
steps = st.lists(
    st.tuples(st.integers(0, 50) | st.integers(0, 10**12), costs), min_size=1, max_size=60
)


@given(
    interval=st.integers(1, 30) | st.integers(1, 10**9),
    burst=st.integers(1, 10) | st.integers(1, 10**7),
    start=st.integers(1, 2**62),
    steps=steps,
)
def test_decisions_are_those_of_a_bucket_of_fractions(
    interval: int, burst: int, start: int, steps: list[tuple[int, int]]
) -> None:
    """The model: a bucket of ``burst`` units that fills by one unit per interval."""
    clock = Clock(start)
    table = RateTable(1, timer=clock)
    rate = Rate(0, interval, burst)
    content, filled_at = Fraction(burst), start
    for elapsed, cost in steps:
        clock.now += elapsed
        content = min(Fraction(burst), content + Fraction(clock.now - filled_at, interval))
        filled_at = clock.now
        assert table.level(rate).remaining == content // 1
        taken = table.take((rate,), cost)
        assert (taken.refused_by is None) == (content >= cost)
        if taken.refused_by is None:
            content -= cost
        elif cost <= burst:
            assert taken.wait == (cost - content) * interval
        else:
            assert taken.wait is None
        assert table.level(rate).full_in == (burst - content) * interval


def test_threads_together_take_exactly_the_burst() -> None:
    table = RateTable(1)
    rate = Rate(0, 10**12, 500)
    admitted = [0] * 4

    def take(thread: int) -> None:
        for _ in range(400):
            admitted[thread] += table.take((rate,)).refused_by is None

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 500
