"""Keys whose hashes are regular: a shard's own are spread over the whole of its table."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fastcache import LRUCache

KEYS: list[Callable[[int], object]] = [
    lambda i: i,
    lambda i: -i,
    lambda i: i << 16,
    lambda i: i << 32,
    lambda i: i << 40,
    lambda i: i << 48,
    lambda i: i * 4096 + 7,
    lambda i: i * 10_000_019,
    lambda i: i * 0.5,
    lambda i: float(i << 32),
    lambda i: (i, i << 32),
    lambda i: -(i << 32),
]


def stored_in(key: Callable[[int], object], shards: int) -> float:
    """The processor time that storing takes, of which the least of three."""
    keys = [key(i) for i in range(60_000)]
    times = []
    for _ in range(3):
        cache: LRUCache[object, int] = LRUCache(1_000_000, shards=shards)
        start = time.thread_time()
        for each in keys:
            cache[each] = 1
        times.append(time.thread_time() - start)
        assert len(cache) == len(set(keys))
    return min(times)


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_regular_keys_are_no_slower_with_shards(number: int) -> None:
    """A guard against a table that is searched from end to end: there, it would be hundredfold."""
    alone = stored_in(KEYS[number], 1)
    for shards in (3, 16, 64):
        assert stored_in(KEYS[number], shards) < 8 * alone + 0.05


@pytest.mark.parametrize("number", range(len(KEYS)))
@pytest.mark.parametrize("shards", [2, 7, 16, 64])
def test_regular_keys_spread_over_the_shards(number: int, shards: int) -> None:
    keys = {KEYS[number](i) for i in range(shards * 100)}
    cache: LRUCache[object, int] = LRUCache(shards * 200, shards=shards)
    cache.set_many((key, 1) for key in keys)
    assert len(cache) > 0.97 * len(keys)
