"""Keys with regular hashes are spread over the shards and over each shard's table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastcache import LRUCache
from fastcache._distances import distances_in

FAMILIES: dict[str, Callable[[int], object]] = {
    "negative": lambda i: -i,
    "shifted and negative": lambda i: -(i << 32),
    "every third": lambda i: i * 3,
    "thousands": lambda i: i * 1000,
    "pages": lambda i: i * 4096 + 7,
    "a prime apart": lambda i: i * 10_000_019,
    "billions": lambda i: i * 10**9,
    "a word apart and one": lambda i: i * (2**32 + 1),
    "a word apart less one": lambda i: i * (2**32 - 1),
    "the hash's modulus apart": lambda i: i * (2**61 - 1) + i,
    "two words": lambda i: i << 64,
    "halves": lambda i: i * 0.5,
    "tenths": lambda i: i * 0.1,
    "large floats": lambda i: float(i << 32),
    "pairs": lambda i: (i, i << 32),
    "pairs of one": lambda i: (7, i),
    "a grid": lambda i: (i & 127, i >> 7),
    # CPython hashes objects by their addresses by default.
    "addresses": lambda i: (0x7F3A_1234_0000 + 16 * i) >> 4,
    "addresses of large objects": lambda i: (0x7F3A_1234_0000 + 4096 * i) >> 4,
    **{f"shifted by {by}": lambda i, by=by: i << by for by in range(61)},  # type: ignore[misc]
}
NUMBER = 3_000
SHARDS = [1, 2, 7, 16, 64, 1000]


def filled(family: str, shards: int, number: int = NUMBER) -> LRUCache[object, int]:
    """A cache with keys of the family, large enough that no shard evicts any."""
    key = FAMILIES[family]
    cache: LRUCache[object, int] = LRUCache(1_000_000, shards=shards)
    for i in range(number):
        cache[key(i)] = 1
    assert len(cache) == number
    return cache


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_are_spread_over_the_shards_and_their_tables(family: str) -> None:
    """With random hashes, the mean distance from the home slot is 2 in a full table."""
    for shards in SHARDS:
        found = distances_in(filled(family, shards))
        assert sum(each[0] for each in found) == NUMBER
        assert sum(each[1] for each in found) / NUMBER < 6, shards
        assert max(each[2] for each in found) < 100, shards
        # Five standard deviations of a random spread.
        part = NUMBER / shards
        assert max(each[0] for each in found) < part + 5 * part**0.5 + 3, shards


@pytest.mark.parametrize("family", ["shifted by 0", "shifted by 24", "shifted by 32", "pages"])
def test_distances_do_not_grow_with_the_number(family: str) -> None:
    for shards in (1, 16):
        found = distances_in(filled(family, shards, 100_000))
        assert sum(each[1] for each in found) / 100_000 < 10
