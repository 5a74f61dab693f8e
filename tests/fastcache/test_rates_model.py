"""RateTable decides like a model of plain integers, and like the GCRA of throttled-py."""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import Rate, RateTable

SECOND = 10**9
YEAR = 366 * 86_400 * SECOND
"""The longest time in which an empty bucket may fill."""
NEVER = 2**63


class Clock:
    """A clock that only tests move."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Model:
    """One rate, by the definition: the time at which its bucket is full, a plain integer."""

    def __init__(self, interval: int, burst: int) -> None:
        self.interval = interval
        self.burst = burst
        self.full_at = 0

    def level(self, now: int) -> tuple[int, int]:
        """The whole units left, and the nanoseconds until the bucket is full."""
        used = max(self.full_at - now, 0)
        return max(self.burst * self.interval - used, 0) // self.interval, used

    def wait(self, now: int, cost: int) -> int:
        """The nanoseconds until a cost is admitted; `NEVER` above the burst."""
        if cost > self.burst:
            return NEVER
        after = max(now, self.full_at) + cost * self.interval
        return max(after - now - self.burst * self.interval, 0)

    def take(self, now: int, cost: int) -> None:
        self.full_at = max(now, self.full_at) + cost * self.interval


starts = st.sampled_from([0, 1, 2**32, 2**62, 2**63 - 1, 2**63]) | st.integers(0, 2**63)
# From 10^6 per second to one per 366 days, and one nanosecond.
intervals = st.sampled_from([1, 1000, SECOND, 86_400 * SECOND, YEAR]) | st.integers(1, 10**12)


@st.composite
def rates(draw: st.DrawFn) -> tuple[int, int]:
    """An interval and a burst that are allowed together; the extremes are frequent."""
    interval = draw(intervals)
    most = YEAR // interval
    return interval, draw(st.sampled_from([1, most]) | st.integers(1, min(most, 1000)))


# Which rates, from where the elapsed time and the cost are taken, and what is added to the time.
takings = st.tuples(
    st.permutations(range(4)), st.integers(1, 4), st.integers(0, 9), st.integers(-1, 1)
)


@given(
    limits=st.lists(rates(), min_size=1, max_size=4),
    start=starts,
    takings=st.lists(takings, min_size=1, max_size=20),
)
def test_several_rates_decide_like_a_model_of_integers(
    limits: list[tuple[int, int]],
    start: int,
    takings: list[tuple[list[int], int, int, int]],
) -> None:
    clock = Clock(start)
    table = RateTable(len(limits), timer=clock)
    rates = [Rate(row, *limit) for row, limit in enumerate(limits)]
    models = [Model(*limit) for limit in limits]
    for order, most, kind, more in takings:
        interval, burst = limits[kind % len(limits)]
        elapsed = (0, 1, interval, burst * interval, YEAR)[kind % 5] + more
        clock.now = min(clock.now + max(elapsed, 0), 2**63)
        cost = (1, 2, burst, burst + 1)[(kind + most) % 4]
        # Each rate at most once: its second place would be decided after the first.
        chosen = [i for i in order if i < len(rates)][:most]
        waits = [models[i].wait(clock.now, cost) for i in chosen]
        taken = table.take(tuple(rates[i] for i in chosen), cost)
        refused = next((place for place, wait in enumerate(waits) if wait), None)
        assert taken.refused_by == refused
        assert taken.at == clock.now
        if refused is None:
            assert taken.wait is None
            for i in chosen:
                models[i].take(clock.now, cost)
        else:
            assert taken.wait == (None if waits[refused] == NEVER else waits[refused])
        for rate, model in zip(rates, models, strict=True):
            assert tuple(table.level(rate)) == model.level(clock.now)


# ---- throttled-py, whose times are floats in seconds

throttled = pytest.importorskip("throttled")

EXACT = SECOND // 2**9
"""1/512 s in nanoseconds: multiples of it are exact as floats of seconds, too."""


ROUNDING = Fraction(1, 2**53)
"""The largest error of one rounding to a float, relative to the result."""


class Theirs(NamedTuple):
    """A decision of throttled-py. Times are in nanoseconds, as exact as its floats are."""

    admitted: bool
    remaining: int
    reset_after: Fraction
    retry_after: Fraction


class Peer:
    """`count` units in some seconds in throttled-py, by the same clock."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, count: int, seconds: int, burst: int
    ) -> None:
        monkeypatch.setattr("throttled.utils.now_mono_f", lambda: clock.now / SECOND)
        rate = throttled.rate_limiter.per_duration(timedelta(seconds=seconds), count, burst)
        self._limiter = throttled.rate_limiter.GCRARateLimiter(rate, throttled.store.MemoryStore())

    def take(self, cost: int) -> Theirs:
        """Its decision about a cost."""
        result = self._limiter.limit("key", cost)
        state = result.state
        return Theirs(
            not result.limited,
            state.remaining,
            Fraction(state.reset_after) * SECOND,
            Fraction(state.retry_after) * SECOND,
        )


def whole(rate: tuple[int, int]) -> tuple[int, int]:
    """A similar rate whose interval is a whole number of nanoseconds; ours rounds up to these."""
    count, seconds = rate
    return math.gcd(count, seconds * SECOND), seconds


# Times and costs of steps; a cost of 0 stands for all of the burst.
costs = st.integers(0, 5)


@given(
    # 512, 256, … 1 units per second, and 1 in up to 2^24 s, which is 194 days.
    power=st.integers(-24, 9),
    burst=st.sampled_from([1, 2, 3]) | st.integers(1, 10**6),
    start=st.integers(0, 2**32 * 2**9),
    steps=st.lists(
        st.tuples(st.integers(0, 3) | st.integers(0, 10**9), costs), min_size=1, max_size=40
    ),
)
def test_throttled_py_decides_the_same_where_its_floats_are_exact(
    power: int, burst: int, start: int, steps: list[tuple[int, int]]
) -> None:
    """All times are multiples of 1/512 s up to 2^33 s, so no sum of them is rounded to 53 bits."""
    interval = EXACT * 2 ** (9 - power)
    burst = min(burst, YEAR // interval)
    count, seconds = (2**power, 1) if power >= 0 else (1, 2**-power)
    clock = Clock(start * EXACT)
    table, rate = RateTable(1, timer=clock), Rate(0, interval, burst)
    with pytest.MonkeyPatch.context() as monkeypatch:
        peer = Peer(monkeypatch, clock, count, seconds, burst)
        for elapsed, cost in steps:
            clock.now += elapsed * EXACT
            units = min(cost, burst) or burst
            before = table.level(rate)
            taken = table.take((rate,), units)
            theirs = peer.take(units)
            after = table.level(rate)
            assert theirs.admitted == (taken.refused_by is None)
            assert theirs.remaining == (after if theirs.admitted else before).remaining
            assert theirs.reset_after == after.full_in
            assert theirs.retry_after == (taken.wait or 0)


@given(
    rate=st.sampled_from([(10, 1), (100, 1), (10**6, 1), (100, 60), (7, 7), (3, 3600), (1, 86_400)])
    | st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)).map(whole),
    burst=st.sampled_from([1, 2, 3]) | st.integers(1, 10**6),
    start=st.integers(0, 10**7 * SECOND) | st.integers(0, 2**62),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(-2, 2) | st.integers(0, 10**12), costs),
        min_size=1,
        max_size=40,
    ),
)
def test_throttled_py_differs_by_the_rounding_of_its_floats_only(
    rate: tuple[int, int], burst: int, start: int, steps: list[tuple[int, int, int]]
) -> None:
    """It decides differently only if the deciding instant is within the error of its floats.

    Its clock reading, each time that it stores, and its interval are rounded to 53 bits, and its
    stored time adds up the errors. Ours are whole nanoseconds, so ours is the exact decision.
    """
    count, seconds = rate
    interval = seconds * SECOND // count
    burst = min(burst, YEAR // interval)
    span = burst * interval
    clock = Clock(start)
    table, ours = RateTable(1, timer=clock), Rate(0, interval, burst)
    stored = Fraction(0)
    """The largest error of the time that it has stored, in nanoseconds."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        peer = Peer(monkeypatch, clock, count, seconds, burst)
        for intervals, more, cost in steps:
            clock.now += max(intervals * interval + more, 0)
            units = min(cost, burst) or burst
            # One rounding of the clock, one of each result, and two of the product.
            reading = clock.now * ROUNDING
            stored = max(stored, reading)
            error = (reading + stored + 6 * span * ROUNDING) * Fraction(101, 100)
            before = table.level(ours)
            taken = table.take((ours,), units)
            theirs = peer.take(units)
            # How long ago, or in how long, these units became or become available.
            margin = before.full_in + units * interval - span
            if theirs.admitted != (taken.refused_by is None):
                assert abs(margin) <= error
                return
            after = table.level(ours)
            level = after if theirs.admitted else before
            exact = Fraction(span - level.full_in, interval)
            assert abs(theirs.remaining - level.remaining) <= 1
            if theirs.remaining != level.remaining:
                assert abs(exact - round(exact)) * interval <= error
            assert abs(theirs.reset_after - after.full_in) <= error
            assert abs(theirs.retry_after - (taken.wait or 0)) <= error
            if theirs.admitted:
                stored += (3 * span + clock.now + after.full_in) * ROUNDING


def test_throttled_py_may_refuse_at_the_instant_at_which_a_unit_is_available(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1.1 s + 0.1 s is more than 1.2 s in floats."""
    clock = Clock(1_100_000_000)
    table, rate = RateTable(1, timer=clock), Rate(0, 100_000_000, 1)
    peer = Peer(monkeypatch, clock, 10, 1, 1)
    assert table.take((rate,)).refused_by is None
    assert peer.take(1).admitted
    clock.now += 100_000_000
    assert table.take((rate,)).refused_by is None
    assert not peer.take(1).admitted
