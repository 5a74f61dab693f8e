"""Iterators, initialisation and destruction of a cache."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from fastcache import LRUCache
from tests.support.fastcache.cache_kinds import Kind, check


def test_changing_while_iterating(kind: Kind) -> None:
    cache = kind.make(100)
    cache.update({number: number for number in range(50)})
    seen = []
    for key in cache:
        seen.append(key)
        cache.pop(key + 1, None)
        cache[key + 1000] = 0
        cache.get(10)
    assert seen == list(range(0, 50, 2))
    for _ in cache.items():
        cache.clear()
    assert len(cache) == 0
    check(cache)


def test_iterator_outlives_its_cache(kind: Kind) -> None:
    cache = kind.make(3)
    cache[1] = 10
    iterator = iter(cache.items())
    left = iter(cache)
    next(left)
    keys = iter(cache)
    del cache
    assert list(keys) == [1]
    assert list(iterator) == [(1, 10)]
    assert list(left) == []


def test_used_before_init(kind: Kind) -> None:
    cache = kind.base.__new__(kind.base)
    assert (len(cache), cache.maxsize, cache.get(1), list(cache)) == (0, 0, None, [])
    with pytest.raises(ValueError, match="value too large"):
        cache[1] = 1
    cache.clear()
    assert cache.stats().misses == 1


def test_init_again_empties_the_cache(kind: Kind) -> None:
    cache = kind.make(3)
    cache[1] = 1
    cache.__init__(*((5, 60.0) if kind.timed else (5,)))
    assert (len(cache), cache.maxsize) == (0, 5)
    with pytest.raises(ValueError, match="non-negative"):
        cache.__init__(*((-5, 60.0) if kind.timed else (-5,)))
    assert cache.maxsize == 5


@pytest.mark.parametrize("use", ["__setitem__", "setdefault"])
@pytest.mark.parametrize(
    ("maxsize", "size", "kept"), [(0, 0.0, 0), (0.5, 0.25, 0), (2, 0.0, 2), (2, 9.0, 2)]
)
def test_init_again_while_a_size_is_measured(
    kind: Kind, use: str, maxsize: float, size: float, kept: int
) -> None:
    """A measured size has no effect in a cache that counts items."""

    def measure(value: int) -> float:
        cache.__init__(*((maxsize, 60.0) if kind.timed else (maxsize,)))
        return size

    cache = kind.make(10, measure)
    for number in range(6):
        if kept:
            getattr(cache, use)(number, number)
        else:
            with pytest.raises(ValueError, match="value too large"):
                getattr(cache, use)(number, number)
    assert len(cache) == cache.currsize == kept
    check(cache)


def test_deep_nesting_is_freed_without_deep_recursion(kind: Kind) -> None:
    cache = kind.make(1)
    for _ in range(100_000):
        outer = kind.make(1)
        outer["inner"] = cache
        cache = outer
    del cache, outer


def test_lru_key_objects_are_released() -> None:
    cache: LRUCache[Any, Any] = LRUCache(4)
    key, value = "".join(["k", "ey"]), object()
    counts = sys.getrefcount(key), sys.getrefcount(value)
    for _ in range(3):
        cache[key] = value
        cache[key] = value
        cache.get(key)
        cache.setdefault(key, value)
        list(cache.items())
        cache.pop(key)
        cache[key] = value
        del cache[key]
        cache[key] = value
        cache.popitem()
        cache[key] = value
        cache.clear()
    assert (sys.getrefcount(key), sys.getrefcount(value)) == counts
