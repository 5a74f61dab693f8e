"""Uses caches in every way, repeatedly, and fails if memory or objects accumulate.

The arguments are the number of rounds, of some 9,000 operations each, and a directory.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastcache import LRUCache, TTLCache, cached
from fastcache.shared import (
    Counters,
    KeyedDigest,
    Quota,
    QuotaTable,
    Rate,
    RateTable,
    Region,
    Segment,
    SegmentError,
    SharedCache,
    Stripes,
    Tallies,
    WindowTable,
)

SETTLED = 4
ALLOWED_BYTES = 4096


class Value:
    """A value that counts its living instances."""

    alive = 0

    def __init__(self) -> None:
        Value.alive += 1

    def __del__(self) -> None:
        Value.alive -= 1


class BadKey:
    """A key whose equality raises."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


class Computing(LRUCache[Any, Any]):
    """A subclass that stores missing keys, and overrides popitem."""

    def __missing__(self, key: Any) -> Any:
        self[key] = value = Value()
        return value

    def popitem(self) -> tuple[Any, Any]:
        return super().popitem()


def use(cache: Any) -> None:
    """Every operation, including those that fail."""
    for number in range(300):
        cache[f"key {number}"] = Value()
        cache.get(f"key {number // 2}")
        cache.setdefault(number, Value())
        cache.pop(f"key {number // 3}", None)
    failing: list[Callable[[], object]] = [
        lambda: cache.pop("absent"),
        lambda: cache.__delitem__("absent"),
        lambda: cache.__setitem__([], Value()),
        lambda: cache[BadKey()],
    ]
    for fails in failing:
        cache[7] = Value()
        with suppress(KeyError, TypeError, RuntimeError):
            fails()
    iterator = iter(cache.items())
    next(iterator)
    copy.copy(cache).popitem()
    list(cache), list(cache.values()), repr(cache), cache.stats(), cache.currsize
    cache["itself"] = cache
    cache.__init__(*([5, 60.0] if isinstance(cache, TTLCache) else [5]))
    cache["itself"] = cache


def use_own_ttl(cache: TTLCache[Any, Any], now: list[float]) -> None:
    """Deadlines out of order, operations on many items, and rejected items."""
    for number in range(300):
        cache.set(number % 150, Value(), ttl=float(number * 7 % 40))
        cache.set_many({f"{number}": Value(), number: Value()}, ttl=3.0)
        cache.get_many([number, "absent", f"{number // 2}"])
        now[0] += 0.1
    wrongs: list[Any] = ["text", float("nan")]
    for wrong in wrongs:
        with suppress(TypeError, ValueError):
            cache.set(1, Value(), ttl=wrong)
    copy.copy(cache).expire()


@cached(50, 60.0)
def remembered(key: Any, *, by: int = 1) -> Value:
    """A cached function that returns, raises, or calls itself."""
    if by == 2:
        raise LookupError
    if by == 3:
        remembered(key, by=3 if len(key) > 3 else 4)
    return Value()


@cached(50)
async def awaited(key: Any) -> Value:
    """A cached coroutine function whose result others wait for."""
    await asyncio.sleep(0)
    if key == 3:
        raise LookupError
    return Value()


def use_cached() -> None:
    """Cached functions."""
    for number in range(200):
        remembered(f"key {number % 70}")
        remembered((number, "x"), by=1)
        with suppress(LookupError):
            remembered("key", by=2)
        with suppress(TypeError):
            remembered([], by=1)
    remembered("abc", by=3)
    remembered.cache_info()
    remembered.cache_clear()

    async def many() -> None:
        calls = [awaited(number % 5) for number in range(50)]
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(many())
    awaited.cache_clear()


def use_memory(memory: Any, backed: Any) -> None:
    """All tables in passed memory, with rejected operations."""
    SharedCache.format(memory, slot_size=2048, ways=2)
    table = SharedCache(memory)
    for number in range(200):
        table.put(f"key {number}", b"value" * number, ticket=number, deadline=1 << 63)
        table.get(f"key {number // 2}")
    table.clear()
    table.stats()
    with suppress(ValueError):
        table.put("key", b"", ticket=-1, deadline=0)
    with suppress(ValueError):
        SharedCache(bytearray(1000))
    tallies = Tallies(["a", "b"], 500, memory=memory, backed=backed)
    for row in range(600):
        tallies.add(row, 0)
        tallies.row(row)
    tallies.changes(bytes(100))
    with suppress(IndexError):
        tallies.changes(b"", 2)
    with suppress(ValueError):
        Tallies(["a"], 1, backed=backed)
    windows = WindowTable(64, memory=memory)
    for number in range(200):
        windows.hit(number << 32, number // 10, 5)
        windows.count(number, 1)
    rates = RateTable(8, memory=memory)
    for row in range(20):
        with suppress(IndexError, ValueError):
            rates.take((Rate(row, 10, 1 + row), Rate(0, 10**15, 1)), row)
            rates.level(Rate(row, 10, 5))
    with suppress(TypeError):
        rates.take((5,))  # type: ignore[arg-type]
    quotas = QuotaTable(2, memory=memory)
    for row in range(4):
        with suppress(IndexError):
            quotas.publish(row, row, 1, 5, 65_535)
            quotas.spend(Quota(row, 1, 5), 1, 1)
            quotas.state(row)
    with suppress(TypeError):
        quotas.spend(5, 1, 1)  # type: ignore[arg-type]
    Counters(["a"], memory=memory).compare_exchange(0, 1 << 60, 5)
    digest = KeyedDigest(b"key")
    digest.digest("kéy")
    with suppress(TypeError):
        digest.digest(5)  # type: ignore[arg-type]


def use_segment(path: Path) -> None:
    """Segments that are created, attached, refused and removed."""
    with Segment.open(path, {"a": Region(1 << 16, 1 << 20)}) as segment:
        with segment.reopened() as again, Segment.attach(path) as other:
            use_memory(again.memory("a"), again.backed_word("a"))
            other.grow("a", 1 << 17)
            other.claim(3)
            segment.claimed(3)
            segment.remove()
        with suppress(SegmentError):
            segment.grow("a", 1 << 21)
        with suppress(SegmentError):
            Segment.attach(path, identity=b"other")
        with suppress(SegmentError):
            Segment.create(path, {"a": Region(1)})
        segment.remove()
    path.write_bytes(bytes(5000))
    path.chmod(0o600)
    with suppress(SegmentError):
        Segment.attach(path)
    path.unlink()


def one_round(directory: Path) -> None:
    """Everything once."""
    now = [0.0]
    use(LRUCache(100))
    use(LRUCache(100, lambda value: 2))
    use(Computing(100))
    use(TTLCache(100, 60.0, shards=4))
    timed: TTLCache[int, Value] = TTLCache(100, 5.0, lambda: now[0])
    for number in range(100):
        timed[number] = Value()
    now[0] = 5.0
    assert len(timed.expire()) == 100
    use_own_ttl(TTLCache(100, 5.0, lambda: now[0], shards=2), now)
    use_cached()
    texts: LRUCache[str, str] = LRUCache(100)
    texts.update({str(number): "x" * number for number in range(100)})
    pickle.loads(pickle.dumps(texts))  # noqa: S301
    stripes = Stripes(64, memory=bytearray(512))
    stripes.invalidate("kéy")
    stripes.generation(b"key")
    with suppress(ValueError):
        Stripes(64, memory=bytearray(8))
    Counters(["a", "b"]).snapshot()
    use_memory(bytearray(1 << 16), bytearray(8))
    use_segment(directory / "segment")


def main() -> None:
    """Compare the memory of the last round with that of a settled one."""
    rounds = int(sys.argv[1])
    tracemalloc.start()
    settled = 0
    directory = Path(sys.argv[2])
    for number in range(rounds):
        one_round(directory)
        gc.collect()
        if Value.alive:
            sys.exit(f"{Value.alive} values are still alive after round {number}")
        if number == SETTLED:
            settled = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - settled
    if grown > ALLOWED_BYTES:
        sys.exit(f"{grown} bytes more after {rounds - 1 - SETTLED} rounds")


if __name__ == "__main__":
    main()
