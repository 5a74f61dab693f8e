"""Check every sentence of docs/reference/fastcache.md: introduction, arguments and additions."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import cachetools
import cachetools.keys
import pytest

import fastcache
from fastcache import LRUCache, TTLCache, cached
from tests.support.fastcache.document import held, holds, sentences
from tests.support.fastcache.fake_clock import Clock

PROMISE_NOTHING = {
    "`fastcache` is the cache in which Latchkey keeps checked keys.",
    "`make bench-cache` compares their speed with other caches "
    "([benchmarks.md](../benchmarks.md)).",
    "The package is part of the distribution `latchkey-auth`.",
    "There, give a cache that several threads use constantly about 64 shards; with 16, two threads "
    "still contend now and then.",
    "The docstrings describe the parameters.",
}


def test_every_sentence_is_checked_by_a_test() -> None:
    found = sentences()
    assert len(found) > 60
    known = {*held(), *PROMISE_NOTHING}
    assert [each for each in found if each not in known] == []


def test_every_checked_sentence_is_in_the_document() -> None:
    assert [each for each in [*held(), *PROMISE_NOTHING] if each not in sentences()] == []


# ---- the introduction


@holds(
    "It is also a library in its own right, without any knowledge of API keys, HTTP or SQL.",
)
def test_it_imports_no_other_package() -> None:
    # What a measurement of coverage has loaded before is not counted.
    code = "import sys; before = set(sys.modules); import fastcache, fastcache.shared; "
    code += "print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "fastcache.shared" in loaded
    assert not {"latchkey", "flask", "sqlalchemy", "http", "sqlite3"}.intersection(loaded)


@holds("To use it instead of `cachetools.TTLCache` or `LRUCache`, change one import:")
def test_one_import() -> None:
    for classes in (cachetools, fastcache):
        cache: Any = classes.TTLCache(maxsize=10_000, ttl=300)
        cache["key"] = "value"
        assert cache.get("key") == "value"
        assert classes.LRUCache(5, getsizeof=len).maxsize == 5


@holds(
    "Both are mutable mappings, thread-safe without an external lock, and work with "
    "`cachetools.cached`, `cachetools.cachedmethod` and `cachetools.keys`.",
)
def test_what_they_work_with() -> None:
    for cache in (LRUCache[Any, Any](8), TTLCache[Any, Any](8, 60)):
        assert isinstance(cache, MutableMapping)

        def fill(cache: Any = cache) -> None:
            for number in range(500):
                cache[number] = number
                cache.pop(number - 5, None)

        threads = [threading.Thread(target=fill) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(cache) == len(list(cache)) <= 8
        cache.clear()

        class Owner:
            def __init__(self, cache: Any) -> None:
                self.cache = cache

            @cachetools.cachedmethod(lambda self: self.cache)
            def method(self, number: int) -> object:
                return object()

        @cachetools.cached(cache, key=cachetools.keys.typedkey)
        def function(number: float) -> object:
            return object()

        owner = Owner(cache)
        assert owner.method(1) is owner.method(1)
        assert function(1) is function(1)
        assert function(1) is not function(1.0)
        assert len(cache) == 3


# ---- the arguments


@holds(
    "`maxsize`: the capacity: a number of items, or the total of `getsizeof(value)`; `math.inf` "
    "sets no limit",
)
def test_maxsize() -> None:
    counted = LRUCache[int, int](2)
    counted.update({1: 1, 2: 2, 3: 3})
    assert list(counted) == [2, 3]
    measured = LRUCache[int, str](5, len)
    measured.update({1: "aa", 2: "bb", 3: "cc"})
    assert (list(measured), measured.currsize) == ([2, 3], 4)
    unlimited = LRUCache[int, int](math.inf)
    unlimited.update((number, number) for number in range(1000))
    assert len(unlimited) == 1000


@holds(
    "`ttl`: how long an item lives, in the unit of the timer: seconds, or a timedelta if `timer` "
    "returns datetimes",
    "`timer`: returns numbers or datetimes.",
)
def test_ttl_and_timer() -> None:
    clock = Clock()
    numbers = TTLCache[int, int](2, 5, clock)
    numbers[1] = 1
    clock.tick(4.5)
    assert 1 in numbers
    clock.tick(0.5)
    assert 1 not in numbers
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    dates = TTLCache[int, int](2, timedelta(seconds=5), lambda: now[0])
    dates[1] = 1
    now[0] += timedelta(seconds=4, milliseconds=999)
    assert 1 in dates
    now[0] += timedelta(milliseconds=1)
    assert 1 not in dates


@holds("Numbers are C doubles, so integer nanoseconds since 1970 lose their last digits")
def test_nanoseconds() -> None:
    now = [1_900_000_000_000_000_000]
    cache = TTLCache[int, int](2, 1024, lambda: now[0])
    cache[1] = 1
    now[0] += 896 - 129
    assert 1 in cache
    # The time is rounded to a multiple of 256, so the item expires 100 nanoseconds early.
    now[0] += 1024 - 100 - (896 - 129)
    assert 1 not in cache


@holds(
    "`getsizeof`: measures a value when it is stored.",
    "Sizes are summed exactly.",
    "Sizes of any types add up without rounding.",
    "`currsize` is an int if the sum is a whole number, else the nearest float.",
)
def test_getsizeof() -> None:
    measured = []

    def measure(value: Any) -> Any:
        measured.append(value)
        return value

    cache = LRUCache[int, Any](2**80, measure)
    cache.update({1: 2**70 + 1, 2: 0.1, 3: 0.9})
    assert cache[2] == 0.1
    assert measured == [2**70 + 1, 0.1, 0.9]
    assert cache.currsize == float(2**70 + 2)
    del cache[1]
    # The doubles 0.1 and 0.9 add up to slightly more than 1; the nearest float is 1.0.
    assert (cache.currsize, type(cache.currsize)) == (1.0, float)
    cache.update({2: 0.25, 3: 0.75})
    assert (cache.currsize, type(cache.currsize)) == (1, int)


@holds(
    "A size is refused with a ValueError if it is negative, `nan`, infinite, `2**127` or more, or "
    "not a multiple of `2**-128` (`Fraction(1, 3)` is not, but every float of `1e-22` or more is)",
)
def test_refused_sizes() -> None:
    cache = LRUCache[int, Any](math.inf, lambda value: value)
    for size in (-1, math.nan, math.inf, 2**127, Fraction(1, 3)):
        with pytest.raises(ValueError, match="value"):
            cache[1] = size
    for size in (1e-22, math.nextafter(1e-22, 1), 1.1e-22, 2**127 - 1):
        cache[1] = size
        assert cache.currsize == size


@holds(
    "`shards`: independent parts that divide the capacity by the key's hash, each with its own "
    "lock and its own order of use.",
    "One shard keeps one exact LRU order; several shards let threads without a GIL run in "
    "parallel.",
    "With several shards, an item must fit into one shard, it is evicted when *its* shard is full, "
    "and `popitem` takes from the fullest shard.",
)
def test_shards() -> None:
    one = LRUCache[int, int](64)
    several = LRUCache[int, int](64, shards=4)
    for cache in (one, several):
        cache.update((number, number) for number in range(64))
    assert len(one) == 64
    assert len(several) < 64, "a shard was full before the cache was"
    one.update((number, number) for number in range(64, 96))
    assert [one.popitem()[0] for _ in range(64)] == list(range(32, 96))
    sized = LRUCache[int, int](400, lambda value: value, shards=4)
    with pytest.raises(ValueError, match="too large"):
        sized[1] = 101
    sized.update((number, 1) for number in range(100, 150))
    sized[1] = 100
    assert sized.popitem() == (1, 100), "its shard is the only full one"
    # A comparison that waits for another thread would hang under a lock of the whole cache.
    holder = LRUCache[Any, int](64, shards=4)

    class Key:
        def __hash__(self) -> int:
            return 5

        def __eq__(self, other: object) -> bool:
            thread = threading.Thread(target=holder.set_many, args=({"other": 1},))
            thread.start()
            thread.join()
            return self is other

    holder[Key()] = 1
    assert holder.get(Key()) is None
    assert "other" in holder


@holds("A shard has a capacity of at least 16, so a small cache has fewer shards than requested")
def test_small_caches() -> None:
    for maxsize in (1, 8, 16, 31):
        cache = LRUCache[int, int](maxsize, shards=64)
        cache.update((number, number) for number in range(maxsize))
        assert len(cache) == maxsize, "it has one shard"
    cache = LRUCache[int, int](64, shards=64)
    cache.update((number, number) for number in range(16))
    assert len(cache) == 16


# ---- additions to cachetools


@holds(
    "`cache.set(key, value, ttl=…)` stores an item with its own TTL, shorter or longer than the "
    "cache's.",
    "An item that would expire at once, such as one with `ttl=0`, is not stored.",
    "It removes the previous item of its key and evicts nothing else.",
)
def test_set() -> None:
    clock = Clock()
    cache = TTLCache[str, int](2, 5, clock)
    cache.set("short", 1, ttl=1)
    cache.set("long", 2, ttl=50)
    clock.tick(1)
    assert list(cache) == ["long"]
    clock.tick(48)
    assert list(cache) == ["long"]
    cache["other"] = 3
    cache.set("third", 4, ttl=0)
    assert list(cache.items()) == [("long", 2), ("other", 3)]
    cache.set("other", 5, ttl=0)
    assert (list(cache), cache.stats().evictions) == (["long"], 0)


@holds(
    "`cache.get_many(keys)` returns a dict of the items found.",
    "`cache.set_many(items)` stores a mapping or pairs; a `TTLCache` also takes `ttl=…`.",
    "`cache.stats()` returns hits, misses, evictions, expirations and entries.",
)
def test_many_and_statistics() -> None:
    clock = Clock()
    cache = TTLCache[str, int](3, 5, clock)
    cache.set_many({"a": 1})
    cache.set_many([("b", 2), ("c", 3)], ttl=1)
    assert cache.get_many(["a", "b", "x"]) == {"a": 1, "b": 2}
    clock.tick(1)
    cache.update({"d": 4, "e": 5, "f": 6})
    stats = cache.stats()
    assert stats == (2, 1, 1, 2, 3)
    assert stats._fields == ("hits", "misses", "evictions", "expirations", "entries")
    with pytest.raises(TypeError):
        LRUCache[str, int](3).set_many({"a": 1}, ttl=1)  # type: ignore[call-arg]


@holds(
    "`@fastcache.cached(maxsize, ttl=None)` works like `functools.lru_cache`, with `cache_info`, "
    "`cache_clear` and `cache_parameters`:",
    "Results expire.",
)
def test_cached() -> None:
    for decorate in (functools.lru_cache, cached):
        made: list[int] = []
        function: Any = decorate(2)(lambda number, made=made: made.append(number) or len(made))
        assert [function(number) for number in (1, 1, 2, 3, 1)] == [1, 1, 2, 3, 4]
        assert function.cache_info() == (1, 4, 2, 2)
        assert function.cache_parameters()["maxsize"] == 2
        function.cache_clear()
        assert function.cache_info() == (0, 0, 2, 0)
    clock = Clock()
    expiring = cached(2, 5, timer=clock)(lambda: object())
    first = expiring()
    assert expiring() is first
    clock.tick(5)
    assert expiring() is not first
