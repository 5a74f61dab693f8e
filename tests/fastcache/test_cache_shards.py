"""Sharded caches: capacity, statistics, and restrictions."""

from __future__ import annotations

import copy
import math

import pytest

from fastcache import CacheStats, LRUCache, TTLCache
from tests.support.fastcache.cache_kinds import pickled
from tests.support.fastcache.fake_clock import Clock


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("maxsize", [16, 17, 100])
def test_total_never_exceeds_maxsize(maxsize: int, shards: int) -> None:
    cache: LRUCache[int, int] = LRUCache(maxsize, shards=shards)
    for number in range(2_000):
        cache[number] = number
        assert len(cache) <= maxsize
        assert cache[number] == number
    assert len(cache) == maxsize
    assert cache.stats().evictions == 2_000 - maxsize


def test_total_of_sizes_never_exceeds_maxsize() -> None:
    cache: LRUCache[int, int] = LRUCache(50, lambda value: value, shards=4)
    for number in range(500):
        cache[number] = number % 12
        assert cache.currsize <= 50
        assert cache.currsize == sum(cache.values())


def test_a_value_must_fit_into_its_shard() -> None:
    cache: LRUCache[int, int] = LRUCache(40, lambda value: value, shards=2)
    cache[1] = 20
    with pytest.raises(ValueError, match="value too large"):
        cache[2] = 21
    assert dict(cache) == {1: 20}


def test_small_integers_spread_over_the_shards() -> None:
    cache: LRUCache[int, int] = LRUCache(8 * 64, shards=8)
    for number in range(8 * 64):
        cache[number] = number
    assert len(cache) > 8 * 64 * 0.8


def test_infinite_maxsize() -> None:
    cache: LRUCache[int, int] = LRUCache(math.inf, shards=4)
    for number in range(100):
        cache[number] = number
    assert len(cache) == 100


@pytest.mark.parametrize("shards", [0, -1, 1025])
def test_number_of_shards_is_bounded(shards: int) -> None:
    with pytest.raises(ValueError, match="shards must be from 1 to 1024"):
        LRUCache[int, int](5_000, shards=shards)


def test_shards_must_be_an_int() -> None:
    with pytest.raises(TypeError, match="shards must be an int, not float"):
        LRUCache[int, int](10, shards=2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("maxsize", [0, 1, 3, 16, 31])
def test_a_cache_too_small_for_two_shards_has_one(maxsize: int) -> None:
    cache: TTLCache[int, int] = TTLCache(maxsize, 60.0, shards=1024)
    for number in range(maxsize):
        cache[number] = number
    assert list(cache) == list(range(maxsize))


def test_a_shard_has_a_capacity_of_at_least_sixteen() -> None:
    cache: LRUCache[int, int] = LRUCache(64, lambda value: value, shards=64)
    cache[1] = 16
    with pytest.raises(ValueError, match="value too large"):
        cache[2] = 17


def test_subclass_that_sees_evictions_needs_one_shard() -> None:
    class Evicting(LRUCache[int, int]):
        def popitem(self) -> tuple[int, int]:
            return super().popitem()

    class Deleting(LRUCache[int, int]):
        def __delitem__(self, key: int, /) -> None:
            super().__delitem__(key)

    for kind in (Evicting, Deleting):
        kind(2, shards=1)
        with pytest.raises(TypeError, match="needs shards=1"):
            kind(2, shards=2)


def test_operations_over_all_shards() -> None:
    clock = Clock()
    cache: TTLCache[int, str] = TTLCache(64, 10.0, clock, shards=4)
    for number in range(20):
        cache[number] = str(number)
    assert sorted(cache) == list(range(20))
    assert dict(cache.items()) == {number: str(number) for number in range(20)}
    assert sorted(copy.copy(cache)) == list(range(20))
    assert cache == copy.copy(cache)

    popped = [cache.popitem() for _ in range(5)]
    assert all(value == str(key) for key, value in popped)
    assert len(cache) == 15

    clock.tick(5)
    cache[100] = "100"
    clock.tick(5)
    assert len(cache.expire()) == 15
    assert list(cache.items()) == [(100, "100")]
    assert cache.stats()._replace(misses=0, hits=0) == CacheStats(0, 0, 0, 15, 1)

    cache.clear()
    assert len(cache) == 0
    with pytest.raises(KeyError, match="TTLCache is empty"):
        cache.popitem()


def test_popitem_takes_from_the_fullest_shard() -> None:
    cache: LRUCache[int, int] = LRUCache(64, shards=8)
    for number in range(40):
        cache[number] = number
    for left in reversed(range(40)):
        cache.popitem()
        assert len(cache) == left


class Named(LRUCache[str, int]):
    """A subclass at module level, so that it can be pickled."""


def test_pickling_keeps_shards() -> None:
    cache = Named(64, shards=4)
    for number in range(32):
        cache[str(number)] = number
    again = pickled(cache)
    assert type(again) is Named
    assert dict(again) == dict(cache)
    for number in range(500):
        again[str(number)] = number
    assert len(again) == 64


def test_default_stats() -> None:
    cache: LRUCache[int, int] = LRUCache(2)
    assert cache.stats() == CacheStats(hits=0, misses=0, evictions=0, expirations=0, entries=0)
    cache[1] = 1
    cache.get(1)
    cache.get(2)
    assert 1 in cache
    assert 2 not in cache
    cache[2] = 2
    cache[3] = 3
    cache.popitem()
    assert cache.stats() == CacheStats(hits=1, misses=1, evictions=1, expirations=0, entries=1)
