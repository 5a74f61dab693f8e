"""The contract of a cache with expiry, which cachetools' and fastcache's classes both obey."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from fastcache import TTLCache
from tests.support.fastcache.cache_kinds import TIMED_KINDS, Kind
from tests.support.fastcache.fake_clock import Clock


@pytest.fixture(params=TIMED_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(kind: Kind, clock: Clock) -> Any:
    """{1: 10} stored at 0, {2: 20} stored at 2, ttl 3, and the clock at 2."""
    cache = kind.make(3, ttl=3, clock=clock)
    cache[1] = 10
    clock.tick(2)
    cache[2] = 20
    return cache


def test_settings(kind: Kind, cache: Any, clock: Clock) -> None:
    assert cache.ttl == 3
    assert cache.timer() == clock.time
    assert cache.timer.time == 2
    assert kind.base(1, 5).timer() == pytest.approx(time.monotonic(), abs=60)


def test_expired_items_are_removed_before_a_value_is_rejected(kind: Kind, clock: Clock) -> None:
    """Expired items are removed before the value is rejected."""
    cache = kind.make(3, lambda value: value, ttl=3, clock=clock)
    cache[1] = 1
    clock.tick(3)
    with pytest.raises(ValueError, match="value too large"):
        cache[2] = 4
    assert cache.expire() == []


def test_an_item_expires_at_its_deadline(cache: Any, clock: Clock) -> None:
    clock.tick(0.5)
    assert cache[1] == 10
    clock.tick(0.5)
    assert 1 not in cache
    assert 2 in cache
    with pytest.raises(KeyError) as caught:
        cache[1]
    assert caught.value.args == (1,)
    assert cache.get(1) is None
    assert cache.get(1, "gone") == "gone"
    assert cache.pop(1, "gone") == "gone"
    with pytest.raises(KeyError):
        cache.pop(1)
    assert cache.setdefault(1, 11) == 11
    assert dict(cache) == {2: 20, 1: 11}


def test_counts_exclude_expired_items(cache: Any, clock: Clock) -> None:
    assert (len(cache), cache.currsize) == (2, 2)
    clock.tick(1)
    assert list(iter(cache)) == [2]
    assert len(cache) == 1
    clock.tick(2)
    assert cache.currsize == 0
    assert repr(cache).startswith("TTLCache({}")
    assert not cache


def test_deleting_an_expired_item(cache: Any, clock: Clock) -> None:
    clock.tick(1)
    with pytest.raises(KeyError):
        del cache[1]
    del cache[2]
    assert cache.expire() == []


def test_expire_returns_what_it_removes(cache: Any, clock: Clock) -> None:
    assert cache.expire() == []
    clock.tick(1)
    assert cache.get(1) is None
    assert cache.expire() == [(1, 10)]
    assert cache.expire() == []
    assert cache.expire(4.5) == []
    assert cache.expire(time=5) == [(2, 20)]
    assert len(cache) == 0


def test_storing_again_restarts_the_ttl(cache: Any, clock: Clock) -> None:
    cache[1] = 11
    assert list(cache) == [2, 1]
    clock.tick(2)
    assert cache[1] == 11
    cache.get(1)
    clock.tick(1)
    assert 1 not in cache


def test_popitem_skips_expired_items(cache: Any, clock: Clock) -> None:
    clock.tick(1)
    assert cache.popitem() == (2, 20)
    with pytest.raises(KeyError, match="TTLCache is empty"):
        cache.popitem()


def test_expired_items_are_removed_first(cache: Any, clock: Clock) -> None:
    cache[3] = 30
    cache.get(1)
    clock.tick(1)
    cache[4] = 40
    assert dict(cache) == {2: 20, 3: 30, 4: 40}


@pytest.mark.parametrize("ttl", [0, -1])
def test_no_time_to_live(kind: Kind, clock: Clock, ttl: int) -> None:
    cache = kind.make(2, ttl=ttl, clock=clock)
    cache[1] = 1
    assert 1 not in cache
    assert list(iter(cache)) == []
    # cachetools keeps it until then; fastcache does not store it at all.
    assert cache.expire() == ([] if kind.base is TTLCache else [(1, 1)])
    assert len(cache) == 0


def test_one_operation_reads_one_time(kind: Kind) -> None:
    """A clock that advances at each reading must not let an item expire within a call."""
    cache = kind.make(1, ttl=1.5, clock=Clock(step=1))
    cache[1] = 1
    assert cache.get(1) == 1
    cache[1] = 1
    assert cache.pop(1) == 1
    cache[1] = 1
    assert cache.setdefault(1, 2) == 1


def test_frozen_timer(cache: Any, clock: Clock) -> None:
    with cache.timer as outer:
        clock.tick(10)
        with cache.timer as inner:
            assert outer == inner == cache.timer() == 2
            assert cache[1] == 10
        cache[3] = 30
        assert len(cache) == 3
    assert cache.timer() == 12
    assert len(cache) == 0


def test_missing_is_called_for_an_expired_key(kind: Kind, clock: Clock) -> None:
    class Computing(kind.base):  # type: ignore[misc, name-defined]
        def __missing__(self, key: int) -> str:
            return f"missing {key}"

    cache = kind.make(2, ttl=3, clock=clock, subclass=Computing)
    cache[1] = 1
    clock.tick(3)
    assert cache[1] == "missing 1"
    assert cache.get(1) is None


def test_expire_by_subclass_sees_expirations(kind: Kind, clock: Clock) -> None:
    class Recording(kind.base):  # type: ignore[misc, name-defined]
        def expire(self, time: float | None = None) -> Any:
            items = super().expire(time)
            seen.extend(items)
            return items

    seen: list[Any] = []
    cache = kind.make(2, ttl=3, clock=clock, subclass=Recording)
    uses: list[Callable[[], object]] = [
        lambda: cache.__setitem__("new", 1),
        lambda: len(cache),
        lambda: cache.currsize,
        lambda: repr(cache),
        lambda: cache.setdefault("new", 1),
        lambda: cache.pop("absent", len(cache)),
    ]
    for step, use in enumerate(uses):
        seen.clear()
        cache.clear()
        cache[step] = step
        clock.tick(3)
        use()
        assert seen == [(step, step)]
    cache.update({1: 1, 2: 2, 3: 3})
    assert list(cache) == [2, 3]


@pytest.mark.parametrize("zone", [None, UTC])
def test_datetimes(kind: Kind, zone: timezone | None) -> None:
    start = datetime(2030, 1, 1, tzinfo=zone)
    now = [start]
    cache = kind.base(2, timedelta(days=1), lambda: now[0])
    cache[1] = 1
    assert cache.ttl == timedelta(days=1)
    now[0] += timedelta(days=1, microseconds=-1)
    assert cache[1] == 1
    now[0] += timedelta(microseconds=1)
    assert 1 not in cache
    assert cache.expire(now[0] - timedelta(seconds=1)) == []
    assert cache.expire(now[0]) == [(1, 1)]


def test_datetime_overflow(kind: Kind) -> None:
    cache = kind.base(1, timedelta(days=1), lambda: datetime.max.replace(tzinfo=UTC))
    with pytest.raises(OverflowError):
        cache[1] = 1
    with pytest.raises(OverflowError):
        cache.setdefault(1, 1)
    assert len(cache) == 0


def test_timer_that_raises(kind: Kind) -> None:
    class Broken(Exception):
        pass

    def timer() -> float:
        if broken:
            raise Broken
        return 0.0

    broken = False
    cache = kind.base(2, 5, timer)
    cache[1] = 1
    broken = True
    uses: list[Any] = [
        lambda: cache[1],
        lambda: cache.get(1),
        lambda: 1 in cache,
        lambda: cache.__setitem__(2, 2),
        lambda: cache.setdefault(1),
        lambda: cache.pop(1),
        cache.popitem,
        cache.expire,
        lambda: len(cache),
        lambda: cache.currsize,
        lambda: list(iter(cache)),
    ]
    for use in uses:
        with pytest.raises(Broken):
            use()
    broken = False
    assert dict(cache) == {1: 1}


def test_default_timer_is_monotonic_seconds(kind: Kind) -> None:
    cache = kind.base(2, 0.02)
    cache[1] = 1
    assert cache.expire(time.monotonic()) in ([], [(1, 1)])
    deadline = time.monotonic() + 5
    while 1 in cache:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert kind.base(2, 3600).expire(time.monotonic()) == []


# ---- fastcache only


def test_wrong_settings() -> None:
    with pytest.raises(TypeError, match="timer must be callable, not int"):
        TTLCache(1, 1, 5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="timer must be callable, not NoneType"):
        TTLCache(1, 1, None)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="ttl must be a number of seconds, not timedelta"):
        TTLCache(1, timedelta(days=1))  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        TTLCache(1, "3")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        TTLCache(1, None)  # type: ignore[call-overload]


@pytest.mark.parametrize("time", [5.0, timedelta(0), date(2030, 1, 1), None])
def test_a_timedelta_needs_datetimes(time: Any) -> None:
    cache: TTLCache[int, int] = TTLCache(1, timedelta(days=1), lambda: time)
    with pytest.raises(TypeError, match=f"the timer gave {type(time).__name__} for a ttl of timed"):
        cache[1] = 1
    with pytest.raises(TypeError, match=f"the timer gave {type(time).__name__} for a ttl of timed"):
        cache.get(1)


def test_timer_not_frozen() -> None:
    cache: TTLCache[int, int] = TTLCache(1, 1)
    with pytest.raises(RuntimeError, match="the timer is not frozen"):
        cache.timer.__exit__(None, None, None)


def test_frozen_native_timer() -> None:
    cache: TTLCache[int, int] = TTLCache(1, 1e-9)
    with cache.timer as frozen:
        cache[1] = 1
        assert cache.timer() == frozen
        assert cache[1] == 1
    assert cache.get(1) is None


def test_sizes_must_be_finite() -> None:
    cache: TTLCache[int, float] = TTLCache(float("inf"), 5, getsizeof=lambda value: value)
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="value size must be finite"):
            cache[1] = value
