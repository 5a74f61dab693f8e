"""Items with their own TTL, and operations on many items: additions to cachetools."""

from __future__ import annotations

import copy
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastcache import LRUCache, TTLCache
from tests.support.fastcache.cache_kinds import Kind, check, pickled
from tests.support.fastcache.fake_clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> TTLCache[Any, Any]:
    """Empty, with a ttl of 10."""
    return TTLCache(100, 10, clock)


# ---- set


def test_each_item_expires_by_its_own_ttl(cache: TTLCache[Any, Any], clock: Clock) -> None:
    cache["default"] = 0
    cache.set("short", 1, ttl=3)
    cache.set("long", 2, ttl=30)
    cache.set("same", 3)
    cache.set("none", 4, ttl=None)
    assert list(cache) == ["default", "short", "long", "same", "none"]
    clock.tick(3)
    assert "short" not in cache
    assert len(cache) == 4
    clock.tick(7)
    assert dict(cache) == {"long": 2}
    clock.tick(20)
    assert cache.get("long") is None
    assert len(cache) == 0


def test_expired_items_are_returned_in_the_order_of_their_deadlines(
    cache: TTLCache[Any, Any], clock: Clock
) -> None:
    numbers = list(range(1, 60))
    random.Random(5).shuffle(numbers)
    for number in numbers:
        cache.set(number, number, ttl=number)
    assert list(cache) == numbers
    clock.tick(20)
    assert cache.expire() == [(number, number) for number in range(1, 21)]
    clock.tick(100)
    assert cache.expire() == [(number, number) for number in range(21, 60)]


def test_storing_again_applies_the_new_ttl(cache: TTLCache[Any, Any], clock: Clock) -> None:
    cache.set("a", 1, ttl=2)
    cache.set("b", 1, ttl=50)
    cache.set("b", 2, ttl=1)
    cache["a"] = 2
    clock.tick(2)
    assert dict(cache) == {"a": 2}
    clock.tick(8)
    assert len(cache) == 0


@pytest.mark.parametrize("ttl", [0, -1, -math.inf])
def test_no_time_to_live(cache: TTLCache[Any, Any], ttl: float) -> None:
    cache.set(1, 1, ttl=ttl)
    assert 1 not in cache
    assert cache.expire() == []
    cache[1] = 1
    cache.set(1, 2, ttl=ttl)
    assert 1 not in cache


def test_infinite_ttl(cache: TTLCache[Any, Any], clock: Clock) -> None:
    cache.set(1, 1, ttl=math.inf)
    cache[2] = 2
    clock.tick(1e9)
    assert dict(cache) == {1: 1}


@pytest.mark.parametrize(
    ("ttl", "error"),
    [(math.nan, ValueError), ("3", TypeError), (timedelta(seconds=1), TypeError)],
)
def test_wrong_ttl_changes_nothing(
    cache: TTLCache[Any, Any], ttl: Any, error: type[Exception]
) -> None:
    cache[1] = 1
    with pytest.raises(error):
        cache.set(1, 2, ttl=ttl)
    assert dict(cache) == {1: 1}


def test_ttl_is_a_keyword_argument(cache: TTLCache[Any, Any]) -> None:
    with pytest.raises(TypeError):
        cache.set(1, 1, 5)  # type: ignore[call-arg]


def test_datetimes() -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    cache: TTLCache[int, int] = TTLCache(5, timedelta(days=1), lambda: now[0])
    cache[1] = 1
    cache.set(2, 2, ttl=timedelta(hours=1))
    with pytest.raises(TypeError):
        cache.set(3, 3, ttl=5)
    with pytest.raises(OverflowError):
        cache.set(3, 3, ttl=timedelta.max)
    now[0] += timedelta(hours=1)
    assert dict(cache) == {1: 1}


def test_eviction_is_by_use_not_by_deadline(clock: Clock) -> None:
    cache: TTLCache[int, int] = TTLCache(3, 10, clock)
    cache.set(1, 1, ttl=50)
    cache.set(2, 2, ttl=40)
    cache.set(3, 3, ttl=30)
    cache.get(1)
    cache[4] = 4
    assert list(cache) == [1, 3, 4]
    check(cache)


def test_expired_items_are_removed_first(clock: Clock) -> None:
    cache: TTLCache[int, int] = TTLCache(3, 10, clock)
    for number, ttl in ((1, 50), (2, 5), (3, 20)):
        cache.set(number, number, ttl=ttl)
    clock.tick(5)
    cache[4] = 4
    assert list(cache) == [1, 3, 4]
    assert cache.stats().evictions == 0


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_keep_deadlines(cache: TTLCache[Any, Any], clock: Clock, duplicate: Any) -> None:
    for number, ttl in ((1, 50), (2, 5), (3, 20)):
        cache.set(number, number, ttl=ttl)
    made = duplicate(cache)
    assert list(made) == [1, 2, 3]
    made.timer.tick(5)
    assert dict(made) == {1: 1, 3: 3}
    made.timer.tick(15)
    assert made.expire() == [(2, 2), (3, 3)]


def test_subclass_that_sees_expirations(clock: Clock) -> None:
    class Recording(TTLCache[int, int]):
        def expire(self, time: Any = None) -> list[tuple[int, int]]:
            items = super().expire(time)
            seen.extend(items)
            return items

    seen: list[tuple[int, int]] = []
    cache = Recording(5, 10, clock)
    cache[1] = 1
    cache.set(2, 2, ttl=3)
    clock.tick(3)
    cache.set(3, 3, ttl=1)
    assert seen == [(2, 2)]


def test_many_turns_with_mixed_deadlines(clock: Clock) -> None:
    """The order is kept through growth, eviction, replacement and removal."""
    rng = random.Random(3)
    cache: TTLCache[int, int] = TTLCache(200, 10, clock, shards=2)
    deadlines: dict[int, float] = {}
    for _ in range(5_000):
        key = rng.randrange(400)
        ttl = rng.choice([None, 1, 2, 5, 20, 40])
        cache.set(key, key, ttl=ttl)
        deadlines[key] = clock.time + (10 if ttl is None else ttl)
        if rng.random() < 0.1:
            cache.pop(rng.randrange(400), None)
        clock.tick(rng.choice([0, 0, 0.1]))
        assert all(clock.time < deadlines[key] for key in cache)
    expired = cache.expire(math.inf)
    assert {key for key, _ in expired} <= set(deadlines)
    check(cache)
    cache[1] = 1
    clock.tick(10)
    assert len(cache) == 0


# ---- many


def test_get_many(kind: Kind) -> None:
    cache = kind.make(3)
    cache.update({1: 10, 2: 20, 3: 30})
    assert cache.get_many([3, 9, 1]) == {3: 30, 1: 10}
    assert cache.get_many(iter(())) == {}
    assert cache.stats()[:2] == (2, 1)
    cache[4] = 40
    assert list(cache) == [1, 3, 4]
    with pytest.raises(TypeError, match="unhashable"):
        cache.get_many([[]])
    with pytest.raises(TypeError, match="not iterable"):
        cache.get_many(5)


def test_get_many_calls_an_override(kind: Kind) -> None:
    class Doubling(kind.base):  # type: ignore[misc, name-defined]
        def __getitem__(self, key: int) -> int:
            return int(super().__getitem__(key)) * 2

    cache = kind.make(3, subclass=Doubling)
    cache[1] = 10
    assert cache.get_many([1, 2]) == {1: 20}


def test_set_many(kind: Kind) -> None:
    cache = kind.make(3)
    cache.set_many({1: 10, 2: 20})
    cache.set_many([(2, 21), (3, 30)])
    cache.set_many((number, 0) for number in (4,))
    assert dict(cache) == {2: 21, 3: 30, 4: 0}
    for wrong, error in ((5, TypeError), ([(1, 2, 3)], ValueError), ([5], TypeError)):
        with pytest.raises(error):
            cache.set_many(wrong)
    assert dict(cache) == {2: 21, 3: 30, 4: 0}


def test_set_many_calls_an_override(kind: Kind) -> None:
    class Texts(kind.base):  # type: ignore[misc, name-defined]
        def __setitem__(self, key: int, value: object) -> None:
            super().__setitem__(key, str(value))

    cache = kind.make(3, subclass=Texts)
    cache.set_many({1: 1})
    assert dict(cache) == {1: "1"}


def test_set_many_with_a_ttl(cache: TTLCache[Any, Any], clock: Clock) -> None:
    cache.set_many({1: 1, 2: 2}, ttl=20)
    cache.set_many([(3, 3)])
    clock.tick(10)
    assert dict(cache) == {1: 1, 2: 2}


def test_a_cache_without_expiry_has_no_ttl_argument() -> None:
    cache: Any = LRUCache(3)
    assert not hasattr(cache, "set")
    with pytest.raises(TypeError):
        cache.set_many({1: 1}, ttl=5)
