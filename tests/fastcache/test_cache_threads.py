"""Threads on one cache: what they see is never wrong, and it is whole afterwards."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fastcache import LRUCache, TTLCache

SECONDS = 0.6


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    interval = sys.getswitchinterval()
    # A coverage build sets an interval of its own, see _shard.pyx.
    if sys.gettrace() is None:
        sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def work(cache: Any, seed: int, until: float, errors: list[Exception]) -> None:
    """Every operation, at random; a value always tells its key."""
    rng = random.Random(seed)
    try:
        while time.monotonic() < until:
            key = f"key-{rng.randrange(300)}"
            choice = rng.randrange(12)
            if choice < 4:
                assert cache.get(key, key) == key
            elif choice < 7:
                cache[key] = key
            elif choice == 7:
                assert cache.pop(key, key) == key
            elif choice == 8:
                assert cache.setdefault(key, key) == key
            elif choice == 9:
                assert all(key == value for key, value in cache.items())
                assert len(cache) <= cache.maxsize
            elif choice == 10:
                try:
                    popped, value = cache.popitem()
                    assert popped == value
                except KeyError:
                    pass
            elif rng.randrange(50) == 0:
                cache.clear()
    except Exception as error:  # noqa: BLE001 - told in the main thread
        errors.append(error)


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("ttl", [None, 0.002])
def test_stress(ttl: float | None, shards: int) -> None:
    lru: Any = LRUCache(100, shards=shards)
    cache = lru if ttl is None else TTLCache(100, ttl, shards=shards)
    errors: list[Exception] = []
    until = time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=work, args=(cache, seed, until, errors)) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stats = cache.stats()
    assert stats.hits > 0
    assert stats.misses > 0
    keys = list(cache)
    assert len(set(keys)) == len(keys) <= 100
    cache.clear()
    for number in range(1000):
        cache[number] = number
    assert len(cache) <= 100


def test_one_wins_setdefault() -> None:
    cache: LRUCache[int, object] = LRUCache(1000)
    barrier = threading.Barrier(4)
    results: list[list[object]] = [[], [], [], []]

    def race(number: int) -> None:
        barrier.wait()
        results[number] = [cache.setdefault(key, object()) for key in range(500)]

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values in zip(*results, strict=True):
        assert len(set(map(id, values))) == 1


def test_each_item_is_popped_once() -> None:
    cache: LRUCache[int, int] = LRUCache(2000)
    cache.update({number: number for number in range(2000)})
    popped: list[int] = []

    def take() -> None:
        while True:
            try:
                popped.append(cache.popitem()[0])
            except KeyError:
                return

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(popped) == list(range(2000))
