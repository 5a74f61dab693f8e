"""The cyclic collector finds cycles through a cache, and nothing leaks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import pytest

from fastcache import TTLCache
from tests.support.fastcache.cache_kinds import Kind


class Node:
    """An object that can be part of a cycle."""

    cache: Any = None

    def timer(self) -> float:
        return 0.0

    def measure(self, value: object) -> int:
        return 1


def test_the_collector_visits_keys_and_values(kind: Kind) -> None:
    cache = kind.make(3)
    key, value = (1, "key"), Node()
    cache[key] = value
    reached: list[object] = [cache]
    for _ in range(3):
        reached = gc.get_referents(*reached)
        if value in reached:
            break
    assert any(item is value for item in reached)
    assert any(item is key for item in reached)


@pytest.mark.parametrize("through", ["value", "key", "cache itself", "iterator"])
def test_cycle_is_collected(kind: Kind, through: str) -> None:
    cache = kind.make(3)
    node = Node()
    node.cache = cache
    if through == "value":
        cache[1] = node
    elif through == "key":
        cache[node] = 1
    elif through == "cache itself":
        cache[1] = cache
        cache[2] = node
    else:
        iterator = iter(cache)
        cache[1] = (iterator, node)
        del iterator
    gone = weakref.ref(node), weakref.ref(cache)
    del node, cache
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_cycle_through_getsizeof_is_collected(kind: Kind) -> None:
    node = Node()
    node.cache = kind.make(3, node.measure)
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_cycle_through_the_timer_is_collected() -> None:
    node = Node()
    node.cache = TTLCache(3, 5, node.timer)
    node.cache[1] = node.cache.timer
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_cycle_of_a_subclass_with_its_own_timer_is_collected() -> None:
    class Own(TTLCache[int, int]):
        def __init__(self) -> None:
            super().__init__(3, 5, self.now)

        def now(self) -> float:
            return 0.0

    cache = Own()
    cache[1] = 1
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None


def test_finaliser_may_use_a_cache_that_is_being_collected(kind: Kind) -> None:
    class Last:
        def __init__(self, cache: Any) -> None:
            self.cache = cache

        def __del__(self) -> None:
            self.cache["again"] = 1
            seen.append((self.cache.get("x"), len(self.cache)))

    seen: list[Any] = []
    cache = kind.make(3)
    cache["x"] = 5
    cache["last"] = Last(cache)
    del cache
    gc.collect()
    assert seen == [(5, 3)]


def run_alone(script: str, *arguments: str, timeout: float = 100) -> None:
    """Run a script in its own process, where nothing else allocates, and without coverage."""
    environment = {name: value for name, value in os.environ.items() if name[:9] != "COVERAGE_"}
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-W", "error", "-m", f"tests.support.fastcache.{script}", *arguments],
        check=True,
        timeout=timeout,
        cwd=root,
        env={**environment, "PYTHONPATH": str(root)},
    )


def test_nothing_leaks(tmp_path: Path, long: bool) -> None:
    rounds, timeout = ("150", 1000) if long else ("10", 100)
    run_alone("leak_script", rounds, str(tmp_path), timeout=timeout)


def test_no_memory() -> None:
    """A MemoryError at any point leaves the cache consistent."""
    pytest.importorskip("_testcapi", reason="this Python comes without its own tests' module")
    run_alone("no_memory_script")


@pytest.mark.parametrize("use", ["replace", "evict", "expire", "own ttl", "resize"])
def test_a_cache_in_use_does_not_grow(use: str, long: bool) -> None:
    """Its own memory is bounded by its content, however long it is used."""
    now = [0.0]
    cache: TTLCache[int, int] = TTLCache(1000, 100, lambda: now[0])
    operations = 1_000_000 if long else 30_000

    def run(count: int) -> None:
        for number in range(count):
            if use == "replace":
                cache[number % 500] = number
            elif use == "evict":
                cache[number] = number
            elif use == "expire":
                cache[number] = number
                now[0] += 1
            elif use == "own ttl":
                cache.set(number % 3000, number, ttl=number % 77)
                now[0] += 0.25
            elif number % 1500 == 0:
                cache.clear()
            else:
                cache[number] = number

    run(5_000)
    tracemalloc.start()
    try:
        run(5_000)
        before = tracemalloc.get_traced_memory()[0]
        run(operations)
        run(-operations % 1500 + 1499)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000
