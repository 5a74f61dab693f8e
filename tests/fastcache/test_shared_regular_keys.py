"""Regular keys in shared tables are spread evenly over stripes and over sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from fastcache.shared import BloomFilter, SharedCache, Stripes, WindowTable

FAMILIES: dict[str, Callable[[int], bytes]] = {
    "decimals": lambda i: b"%d" % i,
    "padded decimals": lambda i: b"%016d" % i,
    "key ids": lambda i: b"key_%08x" % i,
    "with a long head": lambda i: b"sk_live_0123456789abcdef0123456789_%d" % i,
    "with a long tail": lambda i: b"%d_0123456789abcdef0123456789abcdef" % i,
    "little-endian": lambda i: i.to_bytes(8, "little"),
    "big-endian": lambda i: i.to_bytes(8, "big"),
    "two words": lambda i: i.to_bytes(16, "little"),
    "two big-endian words": lambda i: i.to_bytes(16, "big"),
    "one word and its complement": lambda i: i.to_bytes(8, "big") + (~i % 2**64).to_bytes(8, "big"),
    "the same word twice": lambda i: i.to_bytes(8, "little") * 2,
    "lengths": lambda i: b"x" * (i % 2048) + b"%d" % (i // 2048),
    "zeros": lambda i: bytes(i),
    **{
        f"shifted by {by}": lambda i, by=by: (i << by).to_bytes(12, "little")  # type: ignore[misc]
        for by in range(8, 81, 8)
    },
}
NUMBER = 6_000


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [2, 64, 4096, 65536])
def test_stripes(family: str, count: int) -> None:
    memory = bytearray(8 * count)
    stripes = Stripes(count, memory=memory)
    for i in range(NUMBER):
        stripes.invalidate(FAMILIES[family](i))
    found = memoryview(memory).cast("Q")
    part = NUMBER / count
    # Five standard deviations of a random spread.
    assert max(found) < part + 5 * part**0.5 + 4
    used = sum(1 for each in found if each)
    assert used > 0.97 * count * (1 - (1 - 1 / count) ** NUMBER)
    del stripes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sets", [2, 100, 1000, 1500])
def test_sets(family: str, sets: int) -> None:
    """A half-full cache evicts few keys of any family."""
    cache = SharedCache(size=192 + sets * (64 + 64 + 8 * 64), slot_size=64)
    assert cache.capacity == 8 * sets
    number = min(NUMBER, 4 * sets)
    key = FAMILIES[family]
    if len(key(number)) > 32:
        # Long keys need larger slots; the hash still covers the whole key.
        cache = SharedCache(size=192 + sets * (64 + 64 + 8 * 8192), slot_size=8192)
    for i in range(number):
        assert cache.put(key(i), b"", ticket=i, deadline=2**63)
    # Random hashes would lose about 2 %.
    assert cache.stats().evictions <= 0.04 * number + 8
    found = sum(cache.get(key(i)) is not None for i in range(number))
    assert found == number - cache.stats().evictions


def test_windows_and_filters_use_digests() -> None:
    """Their keys are digests; each choice uses different bits of the digest."""
    table = WindowTable(4096)
    bloom = BloomFilter(1 << 15)
    digests = [hashlib.sha256(b"%d" % i).digest() for i in range(1000)]
    for digest in digests:
        assert table.hit(int.from_bytes(digest[:8], "little"), 1, 10) == 1
        bloom.add(digest)
    strangers = [hashlib.sha256(b"not %d" % i).digest() for i in range(10_000)]
    assert sum(digest in bloom for digest in strangers) < 40
