"""Check every sentence of docs/reference/fastcache.md: differences from cachetools."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import cachetools
import pytest

from fastcache import TTLCache
from tests.support.fastcache.cache_kinds import KINDS, Kind
from tests.support.fastcache.callers import elsewhere
from tests.support.fastcache.document import holds
from tests.support.fastcache.fake_clock import Clock


def by_use(cache: Any) -> list[Any]:
    """The keys, the least recently used first."""
    drained = copy.copy(cache)
    return [drained.popitem()[0] for _ in range(len(drained))]


@holds(
    "Reading through `items()` and `values()` (also with `in`), `repr` or `==` does not count as a "
    "use.",
    "Of the lookups, only `cache[key]`, `get`, `get_many` and `setdefault` make an item the most "
    "recently used.",
)
def test_uses(kind: Kind) -> None:
    cache = kind.make(4)
    cache.update({1: 1, 2: 2, 3: 3})
    readings: list[Callable[[], object]] = [
        lambda: list(cache),
        lambda: list(cache.keys()),
        lambda: list(cache.values()),
        lambda: list(cache.items()),
        lambda: 1 in cache,
        lambda: 1 in cache.keys(),  # noqa: SIM118 - the view
        lambda: 1 in cache.values(),
        lambda: (1, 1) in cache.items(),
        lambda: repr(cache),
        lambda: cache == {1: 1},
        lambda: len(cache),
    ]
    for read in readings:
        read()
        assert by_use(cache) == [1, 2, 3]
    uses: list[Callable[[], object]] = [
        lambda: cache[1],
        lambda: cache.get(1),
        lambda: cache.get_many([1]),
        lambda: cache.setdefault(1, 5),
    ]
    for use in uses:
        cache.set_many([(1, 1), (2, 2), (3, 3)])
        use()
        assert by_use(cache) == [2, 3, 1]


@holds(
    "Iteration continues while the cache changes.",
    "Removed items are left out; items that were added meanwhile may be missing.",
)
def test_iteration(kind: Kind) -> None:
    cache = kind.make(10)
    cache.update(dict.fromkeys(range(6), "old"))
    seen = []
    for key in cache:
        seen.append(key)
        cache.pop(key + 1, None)
        cache[f"new {key}"] = 1
    old = [key for key in seen if isinstance(key, int)]
    assert old == [0, 2, 4]
    assert set(seen) - set(old) <= {f"new {key}" for key in seen}


@holds(
    "With the default timer and a TTL of one second or more, the time of storing is read from the "
    "kernel's coarse clock: an item may expire a few milliseconds early, never late.",
    "Per-item TTLs are exact.",
)
def test_deadlines() -> None:
    cache = TTLCache[int, int](5, 10)
    before = time.monotonic()
    cache[1] = 1
    cache.set(2, 2, ttl=10)
    after = time.monotonic()
    # The kernel's clock ticks at least every 10 ms, and ticks may be delayed.
    assert cache.expire(before + 10 - 1) == []
    assert (2, 2) not in cache.expire(before + 10)
    assert 2 in cache
    assert (1, 1) in [*cache.expire(after + 10), (1, 1)]
    assert list(cache) == []


def test_deadlines_of_another_timer_are_exact() -> None:
    clock = Clock()
    cache = TTLCache[int, int](3, 5, clock)
    cache[1] = 1
    cache.set(2, 2, ttl=2)
    clock.tick(2)
    assert (cache.get(1), cache.get(2)) == (1, None)
    clock.tick(3)
    assert cache.get(1) is None


@holds("Lookups compare with the exact time when a deadline is near.")
def test_lookups_near_a_deadline() -> None:
    cache = TTLCache[int, int](5, 10)
    for _ in range(3):
        before = time.monotonic()
        cache.set(1, 1, ttl=0.02)
        after = time.monotonic()
        found = True
        while found:
            asked = time.monotonic()
            found = 1 in cache
            answered = time.monotonic()
            # Found: not later than the deadline. Not found: not earlier.
            assert asked < after + 0.02 if found else answered >= before + 0.02


@holds("`with cache.timer:` stops the time for all threads.")
def test_stopped_time() -> None:
    clock = Clock()
    cache = TTLCache[int, int](5, 10, clock)
    cache[1] = 1
    found: list[Any] = []
    with cache.timer:
        clock.tick(20)
        elsewhere(lambda: found.append(cache.get(1)))
    assert found == [1]
    assert cache.get(1) is None


@holds("Instances accept no further attributes; instances of a subclass do.")
def test_attributes(kind: Kind) -> None:
    with pytest.raises(AttributeError):
        kind.make(5).anything = 1
    subclass = type("Sub", (kind.base,), {})
    cache = kind.make(5, subclass=subclass)
    cache.anything = 1
    assert cache.anything == 1


OVERRIDES = [
    *("__missing__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__iter__"),
    *("popitem", "expire", "getsizeof"),
]


@holds(
    "A subclass may override `__missing__`, `__getitem__`, `__setitem__`, `__delitem__`, "
    "`__contains__`, `__iter__`, `popitem`, `expire` and `getsizeof`.",
    "They are called where cachetools calls them.",
    "There is one exception: a store calls `expire` once, and not again for each item that it "
    "evicts.",
)
@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides(name: str) -> None:
    def called(kind: Kind) -> list[str]:
        calls: list[str] = []

        def hook(self: Any, *args: Any) -> Any:
            calls.append(name)
            if name == "getsizeof":
                return 1
            return getattr(kind.base, name)(self, *args)

        cache = kind.make(2, subclass=type("Sub", (kind.base,), {name: hook}))
        cache.update({1: 1, 2: 2})
        cache.get(1)
        cache.get(9)
        calls.append("store")
        cache[3] = 3
        calls.append("stored")
        cache.pop(3)
        cache.setdefault(4, 4)
        list(cache.items())
        cache.popitem()
        return calls

    model, fast = (called(kind) for kind in KINDS[2:])
    assert name in fast or name == "__missing__"
    if name == "expire":
        assert fast[fast.index("store") : fast.index("stored")] == ["store", "expire"]
        assert model[model.index("store") : model.index("stored")] == ["store", "expire", "expire"]
    else:
        assert fast == model


@holds("A subclass that overrides `popitem` or `__delitem__` needs `shards=1`.")
def test_overrides_and_shards(kind: Kind) -> None:
    ttl = {"ttl": 5} if kind.timed else {}
    for name in OVERRIDES:
        subclass: Any = type("Sub", (kind.base,), {name: lambda self, *args: None})
        assert subclass(64, **ttl).maxsize == 64
        if name in ("popitem", "__delitem__"):
            with pytest.raises(TypeError, match="needs shards=1"):
                subclass(64, shards=2, **ttl)
        else:
            subclass(64, shards=2, **ttl)


@holds(
    "If an overridden `__getitem__` removes its key, `get` and `pop` return the value that it "
    "gave.",
    "If it raises `KeyError` for a key that has been removed meanwhile, the key counts as missing.",
)
def test_getitem_of_a_key_that_is_removed(kind: Kind) -> None:
    class Once(kind.base):  # type: ignore[misc, name-defined]
        def __getitem__(self, key: Any) -> Any:
            value = super().__getitem__(key)
            super().__delitem__(key)
            if value == "raise":
                raise KeyError(key)
            return value

    cache = kind.make(5, subclass=Once)
    cache.update({1: 1, 2: 2, 3: "raise", 4: "raise"})
    assert (cache.get(1), cache.pop(2, None), list(cache)) == (1, 2, [3, 4])
    assert (cache.get(3, "none"), cache.pop(4, "none"), list(cache)) == ("none", "none", [])


@holds(
    "A method that calls an override reads the time once, as in cachetools, but only for the "
    "calling thread: no item expires during a slow override in that thread.",
)
def test_slow_overrides() -> None:
    clock = Clock()

    class Slow(TTLCache[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            clock.tick(10)
            elsewhere(lambda: others.append(key in cache))
            return super().__getitem__(key)

    others: list[bool] = []
    cache = Slow(5, 5, clock)
    cache[1] = "one"
    assert cache.get(1) == "one"
    assert others == [False]
    assert cache.get(1) is None


@holds(
    "The classes do not inherit from `cachetools.Cache`.",
    "`cachetools.cached(…, info=True)` shows their `maxsize` only after "
    "`cachetools.Cache.register(fastcache.TTLCache)`.",
)
def test_inheritance(kind: Kind) -> None:
    assert not issubclass(kind.base, cachetools.Cache)
    # A new subclass each time, because registration is permanent.
    subclass = type("Sub", (kind.base,), {})
    cache = kind.make(5, subclass=subclass)
    assert cachetools.cached(cache, info=True)(len).cache_info().maxsize is None
    cachetools.Cache.register(subclass)
    assert cachetools.cached(cache, info=True)(len).cache_info().maxsize == 5


@holds(
    "Times beyond a C double are refused, and so is a timedelta with a timer that returns numbers."
)
def test_refused_times() -> None:
    cache = TTLCache[int, int](5, 10)
    with pytest.raises(OverflowError):
        cache.set(1, 1, ttl=10**400)
    with pytest.raises(TypeError):
        cache.set(1, 1, ttl=timedelta(1))
    with pytest.raises(OverflowError):
        TTLCache(5, 10**400)
    with pytest.raises(TypeError, match="timedelta"):
        TTLCache(5, timedelta(1))  # type: ignore[call-overload]
    assert len(cache) == 0
    dated = TTLCache[int, int](5, timedelta(1), datetime.now)
    dated[1] = 1
    assert dated[1] == 1
