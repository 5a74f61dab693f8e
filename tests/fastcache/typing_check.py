"""The types in the stubs, checked only by `mypy --strict`; never executed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

from fastcache import Cached, CacheInfo, CacheStats, LRUCache, TTLCache, cached
from fastcache.shared import (
    Counters,
    KeyedDigest,
    Quota,
    QuotaTable,
    Rate,
    RateTable,
    Region,
    Segment,
    SharedCache,
    SharedCacheStats,
    SharedEntry,
    Stripes,
    Tallies,
    WindowTable,
)


def lru() -> None:
    cache: LRUCache[str, int] = LRUCache(10, lambda value: value, shards=2)
    assert_type(cache["key"], int)
    assert_type(cache.get("key"), int | None)
    assert_type(cache.get("key", 0), int)
    assert_type(cache.get("key", "none"), int | str)
    assert_type(cache.pop("key"), int)
    assert_type(cache.pop("key", None), int | None)
    assert_type(cache.setdefault("key", 5), int)
    assert_type(cache.popitem(), tuple[str, int])
    assert_type(list(cache), list[str])
    assert_type(dict(cache.items()), dict[str, int])
    assert_type(cache.stats(), CacheStats)
    assert_type(cache.stats().evictions, int)
    assert_type(cache.currsize, float)
    mapping: MutableMapping[str, int] = cache
    mapping.update(key=1)
    cache[5] = 1  # type: ignore[index]
    cache["key"] = "text"  # type: ignore[assignment]
    LRUCache[str, int](10, 2, 3)  # type: ignore[call-arg, arg-type]


def ttl() -> None:
    cache: TTLCache[bytes, str] = TTLCache(10, 300.0)
    assert_type(cache.expire(), list[tuple[bytes, str]])
    assert_type(cache.ttl, float | timedelta)
    cache.expire(5.0)
    with cache.timer:
        cache.clear()
    TTLCache[str, str](10, timedelta(days=1), lambda: datetime.now(UTC))
    TTLCache[str, str](10, 5, lambda: 0.0, len, shards=4)
    TTLCache[str, str](10, timedelta(days=1))  # type: ignore[call-overload]


def beyond_cachetools() -> None:
    cache: TTLCache[str, int] = TTLCache(10, 300.0)
    cache.set("key", 1)
    cache.set("key", 1, ttl=5.0)
    cache.set("key", 1, ttl=timedelta(seconds=5))
    cache.set("key", 1, ttl="5")  # type: ignore[arg-type]
    cache.set("key", "text")  # type: ignore[arg-type]
    assert_type(cache.get_many(["a", "b"]), dict[str, int])
    cache.get_many([1])  # type: ignore[list-item]
    cache.set_many({"key": 1}, ttl=5)
    cache.set_many([("key", 1)])
    LRUCache[str, int](3).set_many({"key": 1})
    LRUCache[str, int](3).set_many({"key": 1}, ttl=5)  # type: ignore[call-arg]


@cached(100)
def double(number: int, *, by: int = 2) -> int:
    """A function."""
    return number * by


@cached(100, 60.0, typed=True, shards=4)
async def fetch(name: str) -> bytes:
    """A coroutine function."""
    return name.encode()


class Owner:
    """With a method."""

    @cached(maxsize=None, ttl=timedelta(days=1), timer=lambda: datetime.now(UTC))
    def method(self, number: int) -> str:
        return str(number)


async def decorated() -> None:
    assert_type(double(1, by=3), int)
    double("1")  # type: ignore[arg-type]
    assert_type(double.cache_info(), CacheInfo)
    assert_type(double.cache_info().maxsize, float | None)
    assert_type(double.cache_parameters()["typed"], bool)
    double.cache_clear()
    assert_type(await fetch("name"), bytes)
    assert_type(Owner().method(5), str)
    Owner().method("5")  # type: ignore[arg-type]
    Owner().method.cache_clear()
    assert_type(Owner.method(Owner(), 5), str)
    takes: Cached[[str], Awaitable[bytes]] = fetch
    takes.cache_clear()
    cached()  # type: ignore[call-overload]


class Computing(TTLCache[str, int]):
    """A subclass may override the same methods as with cachetools."""

    def __missing__(self, key: str) -> int:
        return len(key)

    def getsizeof(self, value: int) -> int:
        return value

    def popitem(self) -> tuple[str, int]:
        return super().popitem()

    def expire(self, time: float | datetime | None = None) -> list[tuple[str, int]]:
        return super().expire(time)


def shared() -> None:
    stripes = Stripes(1024, memory=bytearray(8192))
    assert_type(stripes.generation("key"), int)
    assert_type(stripes.generation(b"key"), int)
    stripes.invalidate(5)  # type: ignore[arg-type]
    counters = Counters(["hits"])
    counters.add(0)
    counters.add(0, amount=2)
    assert_type(counters.names, tuple[str, ...])
    assert_type(counters.snapshot(), dict[str, int])
    counters.add("hits")  # type: ignore[arg-type]
    assert_type(counters.compare_exchange(0, 1, 2), bool)
    assert_type(KeyedDigest(b"key").digest("data"), bytes)
    KeyedDigest("key")  # type: ignore[arg-type]
    windows = WindowTable(64)
    assert_type(windows.hit(1, 2, 3), int)
    windows.hit("key", 2, 3)  # type: ignore[arg-type]
    rates = RateTable(8, timer=time.monotonic_ns)
    taken = rates.take((Rate(0, 1_000, 5),), cost=2)
    assert_type(taken.refused_by, int | None)
    assert_type(rates.level(Rate(0, 1_000, 5)).remaining, int)
    rates.take([Rate(0, 1, 1)])  # type: ignore[arg-type]
    quotas = QuotaTable(8)
    assert_type(quotas.publish(0, 1, 1, 5, 65_535), tuple[int, int] | None)
    assert_type(quotas.spend(Quota(0, 1, 5), 1, 20_000), bool | None)
    assert_type(quotas.state(0).spent, int)
    quotas.spend(0, 1, 20_000)  # type: ignore[arg-type]


def in_a_segment() -> None:
    def prepare(segment: Segment) -> None:
        SharedCache.format(segment.memory("values"), slot_size=512)

    regions = {"values": Region(1 << 20), "rows": Region(1 << 12, 1 << 24)}
    segment = Segment.open("/dev/shm/name", regions, identity=b"mine", prepare=prepare)
    assert_type(segment, Segment)
    assert_type(segment.reopened(), Segment)
    assert_type(segment.memory("rows"), memoryview)
    values = SharedCache(segment.memory("values"))
    assert_type(values.get("key"), SharedEntry | None)
    assert_type(values.put(b"key", b"value", ticket=1, deadline=2), bool)
    assert_type(values.stats(), SharedCacheStats)
    values.put("key", "value", ticket=1, deadline=2)  # type: ignore[arg-type]
    values.put("key", b"value")  # type: ignore[call-arg]
    rows = Tallies(
        ("uses", "refused"),
        1000,
        memory=segment.memory("rows"),
        backed=segment.backed_word("rows"),
    )
    assert_type(rows.row(5), tuple[int, ...])
    assert_type(rows.changes(bytes(8), field=1), list[int])
