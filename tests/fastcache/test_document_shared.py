"""Check every sentence of docs/reference/fastcache.md: state between processes."""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcache.shared import (
    BloomFilter,
    Counters,
    KeyedDigest,
    Quota,
    QuotaTable,
    Rate,
    RateTable,
    Region,
    Segment,
    SegmentError,
    SegmentForbidden,
    SegmentFull,
    SegmentMissing,
    SegmentUnusable,
    SharedCache,
    Stripes,
    Tallies,
    WindowTable,
)
from tests.support.fastcache.children import Child
from tests.support.fastcache.document import holds

FAR = time.monotonic_ns() + 10**15


@holds(
    "`fastcache.shared` has state that processes share.",
    "Each table lies in a region of a `Segment`:",
    "`Segment`, `Region`: shared memory by name, or nameless for forked processes; regions can be "
    "claimed by one process and can grow",
)
def test_segments(path: Path) -> None:
    page = mmap.PAGESIZE
    regions = {"words": Region(8 * 64), "rows": Region(page, 4 * page)}
    makers: dict[str, Callable[[], Segment]] = {
        "named": lambda: Segment.create(path, regions),
        "nameless": lambda: Segment.create_nameless(regions),
    }
    for name, make in makers.items():
        with make() as segment:
            stripes = Stripes(64, memory=segment.memory("words"))

            def change(segment: Segment = segment, name: str = name) -> None:
                other = Segment.attach(path) if name == "named" else segment.reopened()
                Stripes(64, memory=other.memory("words")).invalidate("key")
                assert other.claim(0) is False
                other.grow("rows", 2 * page)

            assert segment.claim(0)
            assert Child(change).wait() == 0
            assert stripes.generation("key") == 1
            assert segment.backed("rows") == 2 * page
            del stripes


@holds(
    "`SharedCache`: a table of bytes; reads take no lock, and the table survives killed writers",
)
def test_shared_cache() -> None:
    memory = mmap.mmap(-1, 1 << 16)
    SharedCache.format(memory)
    cache = SharedCache(memory)
    cache.put("kept", b"value", ticket=1, deadline=FAR)

    def write() -> None:
        while True:
            cache.put("other", os.urandom(20), ticket=1, deadline=FAR)

    with Child(write) as child:
        while cache.get("other") is None:
            pass
        # A stopped writer may hold a lock, which readers do not take.
        child.stop()
        assert cache.get("kept") == (b"value", 1, FAR)
        child.go_on()
    assert cache.get("kept") in ((b"value", 1, FAR), None)
    assert cache.put("other", b"mine", ticket=1, deadline=FAR)
    assert cache.get("other") == (b"mine", 1, FAR)


@holds("`Counters`: atomic 64-bit counters, with `compare_exchange` and `raise_to`")
def test_counters() -> None:
    counters = Counters(["a"])
    counters.add(0, 2**64 - 1)
    counters.add(0, 3)
    assert counters.value(0) == 2
    assert (counters.raise_to(0, 1), counters.raise_to(0, 5)) == (False, True)
    assert (counters.compare_exchange(0, 4, 9), counters.compare_exchange(0, 5, 9)) == (False, True)
    assert counters.snapshot() == {"a": 9}


@holds("`Stripes`: generations by key hash, for invalidation")
def test_stripes() -> None:
    stripes = Stripes(8)
    before = {key: stripes.generation(str(key)) for key in range(100)}
    stripes.invalidate("5")
    changed = [key for key in before if stripes.generation(str(key)) != before[key]]
    assert 5 in changed
    assert 1 < len(changed) < 50, "all keys of one stripe of eight"


@holds("`Tallies`: rows of cumulative counters")
def test_tallies() -> None:
    tallies = Tallies(["used", "refused"], 3)
    tallies.add(2, 0)
    tallies.add(2, 1, 5)
    assert [tallies.row(row) for row in range(3)] == [(0, 0), (0, 0), (1, 5)]


@holds("`WindowTable`: counts within windows of time")
def test_windows() -> None:
    table = WindowTable()
    assert [table.hit(77, 1, 10), table.hit(77, 1, 10), table.hit(77, 2, 10)] == [1, 2, 1]


@holds(
    "`RateTable`, `Rate`: rate limits, exact over all processes: never more than the burst and one "
    "unit per interval"
)
def test_rates() -> None:
    now = [1]
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    rate = Rate(0, 10, 3)

    def admitted() -> int:
        # Forked processes share the memory, and each has a table of its own.
        table = RateTable(1, memory=memory, timer=lambda: now[0])
        return sum(table.take((rate,)).refused_by is None for _ in range(5))

    assert Child(lambda: os._exit(10 + admitted())).wait() == 10 + 3
    now[0] = 21
    assert admitted() == 2


@holds(
    "`QuotaTable`, `Quota`: quotas, spent from what a database has granted: never more than was "
    "granted"
)
def test_quotas() -> None:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    table = QuotaTable(1, memory=memory)
    table.publish(0, 1, 1, 5, 65_535)

    def spent() -> int:
        return sum(
            QuotaTable(1, memory=memory).spend(Quota(0, 1), 1, 20_000) is True for _ in range(4)
        )

    assert Child(lambda: os._exit(10 + spent())).wait() == 10 + 4
    assert spent() == 1


@holds("`BloomFilter`: a set of digests without false negatives")
def test_filter() -> None:
    digests = [hashlib.sha256(b"%d" % number).digest() for number in range(2000)]
    bloom = BloomFilter(1 << 14)
    for digest in digests:
        bloom.add(digest)
    assert all(digest in bloom for digest in digests)


@holds("`KeyedDigest`: SHA-256 or BLAKE2b of a key and a message, with the key hashed once")
def test_keyed_digest() -> None:
    key = bytes(range(32))
    keyed = KeyedDigest(key)
    for message in (b"one", b"two"):
        expected = {
            "sha256": hashlib.sha256(key.ljust(64, b"\0") + message).digest()[:16],
            "blake2b": hashlib.blake2b(message, key=key, digest_size=16).digest(),
        }
        assert keyed.digest(message) == expected[keyed.algorithm]


@holds(
    "A segment that cannot be used raises a `SegmentError`: `SegmentMissing`, `SegmentForbidden`, "
    "`SegmentFull` or `SegmentUnusable`.",
)
def test_segment_errors(path: Path) -> None:
    errors = (SegmentMissing, SegmentForbidden, SegmentFull, SegmentUnusable)
    assert all(issubclass(each, SegmentError) for each in errors)
    with pytest.raises(SegmentMissing):
        Segment.attach(path)
    with pytest.raises(SegmentFull):
        Segment.create(path, {"large": Region(1 << 50)})
    path.write_bytes(bytes(10_000))
    path.chmod(0o600)
    with pytest.raises(SegmentUnusable):
        Segment.attach(path)
    path.chmod(0o666)
    with pytest.raises(SegmentForbidden):
        Segment.attach(path)
