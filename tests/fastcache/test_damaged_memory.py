"""Shared memory with any content: no operation crashes, hangs or accesses other memory.

Each round runs in a child process, because a failure would end the process or never return.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from fastcache.shared import (
    BloomFilter,
    Counters,
    Quota,
    QuotaTable,
    Rate,
    RateTable,
    SharedCache,
    Stripes,
    Tallies,
    WindowTable,
)
from fastcache.shared.segment_layout import bound_word
from tests.support.fastcache.children import Child, Gate
from tests.support.fastcache.damage import SEED, damage, survives
from tests.support.fastcache.guarded import guarded

FAR = time.monotonic_ns() + 10**15
SETS = 3
SET_SIZE = 64 + 64 + 8 * 64
CACHE_SIZE = 192 + SETS * SET_SIZE
LOCKS = [192 + number * SET_SIZE for number in range(SETS)]

pytestmark = pytest.mark.attack


# ---------------------------------------------------------------- SharedCache


def formatted() -> tuple[memoryview, SharedCache]:
    memory = guarded(CACHE_SIZE)
    SharedCache.format(memory, slot_size=64)
    cache = SharedCache(memory)
    assert cache.capacity == SETS * 8
    return memory, cache


def works(cache: SharedCache) -> None:
    """Check that every set stores and returns a value."""
    for number in range(60):
        key, value = f"key {number}", b"%d" % number
        assert cache.put(key, value, ticket=number, deadline=FAR)
        assert cache.get(key) == (value, number, FAR)


def test_any_damaged_byte_of_a_lock() -> None:
    """The set is emptied, as after the death of a writer, and can be used again."""

    def work() -> None:
        memory, cache = formatted()
        works(cache)
        before = 0
        for lock in LOCKS:
            for at in range(lock, lock + 8):
                for bit in range(8):
                    memory[at] ^= 1 << bit
                    works(cache)
                    stats = cache.stats()
                    assert (stats.recovered, stats.busy) == (before + 1, 0)
                    before += 1
        for content in (b"\xff" * 8, b"\x80" * 8, b"\0\0\0\x40" * 2, b"\x01" + bytes(7)):
            memory[LOCKS[0] : LOCKS[0] + 8] = content
            works(cache)

    survives(work)


def test_any_content_of_a_cache(long: bool) -> None:
    """Including the header, which is read once: later damage to it has no effect."""

    def work() -> None:
        chosen = random.Random(SEED)
        memory, cache = formatted()
        for _ in range(200_000 if long else 5_000):
            damage(memory, chosen)
            number = chosen.randrange(60)
            cache.get(f"key {number}")
            cache.put(f"key {number}", chosen.randbytes(chosen.randrange(40)), ticket=1, deadline=9)
            cache.stats()
            if chosen.randrange(10) == 0:
                cache.clear()
        works(cache)

    survives(work)


def test_any_header_of_a_cache(long: bool) -> None:
    """The header is rejected, or describes a cache within its memory."""

    def work() -> None:
        chosen = random.Random(SEED)
        memory, _ = formatted()
        whole = bytes(memory)
        for _ in range(100_000 if long else 5_000):
            memory[:] = whole
            damage(memory[:64], chosen, 8)
            try:
                cache = SharedCache(memory)
            except ValueError:
                continue
            for number in range(10):
                cache.put(f"key {number}", b"value", ticket=1, deadline=FAR)
                cache.get(f"key {number}")
            cache.stats()

    survives(work)


def test_damage_while_a_cache_is_used(long: bool) -> None:
    """Locks are damaged while they are held, and slots while they are read."""
    memory, cache = formatted()
    seconds = 30.0 if long else 1.0
    gate = Gate()

    def use() -> None:
        gate.wait()
        signal.alarm(int(seconds) + 60)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number in range(60):
                cache.put(f"key {number}", b"v" * (number % 20), ticket=number, deadline=FAR)
                cache.get(f"key {59 - number}")
            cache.stats()

    def disturb() -> None:
        gate.wait()
        chosen = random.Random(SEED)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(100):
                damage(memory, chosen)

    children = [Child(use), Child(use), Child(disturb)]
    gate.open()
    assert [child.wait() for child in children] == [0, 0, 0]
    # Damage can restore the word of an owner that has ended: the set then stays busy.
    for lock in LOCKS:
        memory[lock : lock + 8] = bytes(8)
    works(cache)


# ---------------------------------------------------------------- arrays of words


def use_stripes(memory: memoryview) -> None:
    stripes = Stripes(64, memory=memory)
    before = stripes.generation("key")
    stripes.invalidate("key")
    stripes.invalidate_all()
    assert stripes.generation("key") == (before + 2) % 2**64


def use_counters(memory: memoryview) -> None:
    counters = Counters([f"{number}" for number in range(64)], memory=memory)
    counters.add(63)
    counters.raise_to(0, 5)
    counters.compare_exchange(1, 2, 3)
    assert len(counters.snapshot()) == 64


def use_windows(memory: memoryview) -> None:
    windows = WindowTable(64, memory=memory)
    for key in range(0, 1 << 40, 1 << 35):
        assert 1 <= windows.hit(key, 7, 10) <= 11
        assert windows.count(key, 7) >= 0


def use_rates(memory: memoryview) -> None:
    rates = RateTable(63, memory=memory[8:], backed=memory[:8])
    for row in (0, 20, 62):
        rate = Rate(row, 1000, 5)
        with suppress(IndexError):
            rates.take((rate, Rate(0, 366 * 86_400 * 10**9, 1)), 5)
            level = rates.level(rate)
            assert 0 <= level.remaining <= 5
            rates.reset(row)


def use_quotas(memory: memoryview) -> None:
    quotas = QuotaTable(15, memory=memory[8:], backed=memory[:8])
    for row in (0, 7, 14):
        with suppress(IndexError):
            assert quotas.spend(Quota(row, 1, 5), 5, 100) in (True, False, None)
            state = quotas.state(row)
            quotas.publish(row, state.epoch_tag + 1, 1, 5, 65_535, 3)
            assert quotas.spend(Quota(row, 1, 5), 6, 100) is False


def use_filter(memory: memoryview) -> None:
    bloom = BloomFilter(4096, memory=memory)
    for digest in (bytes(32), b"\xff" * 32, bytes(range(32))):
        bloom.add(digest)
        assert digest in bloom


def use_tallies(memory: memoryview) -> None:
    """Its bound is in the memory, too: no damage raises it beyond the existing rows."""
    tallies = Tallies(["a", "b", "c"], 21, memory=memory[8:], backed=memory[:8])
    for row in (0, 20, 21, 1 << 63):
        tallies.add(row, 2)
        tallies.put(row, 0, 5)
        tallies.raise_to(row, 1, 5)
        assert len(tallies.row(row)) == 3
    assert tallies.backed_rows <= 21
    assert len(tallies.changes(b"")) <= 21


@pytest.mark.parametrize(
    "use",
    [use_stripes, use_counters, use_windows, use_filter, use_tallies, use_rates, use_quotas],
    ids=lambda use: use.__name__,
)
def test_any_content_of_words(use: Callable[[memoryview], None], long: bool) -> None:
    def work() -> None:
        chosen = random.Random(SEED)
        memory = guarded(512)
        for _ in range(50_000 if long else 1_000):
            if use is use_tallies and chosen.randrange(2):
                memory[:8] = bound_word(chosen.randrange(1 << 40)).to_bytes(8, "little")
            use(memory)
            damage(memory, chosen)

    survives(work)
