"""SharedCache in one process: what it stores, evicts and rejects."""

from __future__ import annotations

import mmap
import pickle
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import SharedCache, SharedCacheStats, SharedEntry

FAR = time.monotonic_ns() + 10**15
TOP = (1 << 64) - 1
HEADER_SIZE = 192
ONE_SET = HEADER_SIZE + 128 + 8 * 256


@pytest.fixture
def memory() -> mmap.mmap:
    return mmap.mmap(-1, 1 << 16)


def one_set() -> SharedCache:
    """A cache with a single set, so that all keys compete for it."""
    cache = SharedCache(size=ONE_SET)
    assert cache.capacity == 8
    return cache


def test_put_and_get() -> None:
    cache = SharedCache()
    assert cache.get("key") is None
    assert cache.put("key", b"value", ticket=7, deadline=FAR)
    assert cache.get("key") == SharedEntry(b"value", 7, FAR)
    assert cache.get(b"key") == (b"value", 7, FAR)
    assert type(cache.get("key")) is SharedEntry
    assert cache.get("kez") is None
    assert cache.get("") is None
    assert cache.put("key", b"another", ticket=TOP, deadline=TOP)
    assert cache.get("key") == (b"another", TOP, TOP)
    assert cache.stats().entries == 1


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=150), max_size=8))
def test_any_bytes(items: dict[bytes, bytes]) -> None:
    cache = one_set()
    for number, (key, value) in enumerate(items.items()):
        assert cache.put(key, value, ticket=number, deadline=FAR + number)
    for number, (key, value) in enumerate(items.items()):
        assert cache.get(key) == (value, number, FAR + number)
    assert cache.stats().entries == len(items)


@pytest.mark.parametrize("key_length", [0, 1, 7, 8, 9, 100, 224])
def test_every_length_that_fits_into_a_slot(key_length: int) -> None:
    cache = SharedCache(size=1 << 16)
    key = b"k" * key_length
    room = 224 - (key_length + 7) // 8 * 8
    for length in range(room + 1):
        value = bytes(number % 255 + 1 for number in range(length))
        assert cache.put(key, value, ticket=length, deadline=FAR)
        assert cache.get(key) == (value, length, FAR)
    assert not cache.put(key, bytes(room + 1), ticket=0, deadline=FAR)
    assert cache.stats().oversized == 1
    # The previous value stays: the caller compares its ticket.
    assert cache.get(key) == (value, room, FAR)


def test_too_large() -> None:
    cache = SharedCache(size=1 << 20, slot_size=65536, ways=1)
    assert cache.slot_size == 65536
    assert cache.put("key", b"v" * 65000, ticket=0, deadline=FAR)
    found = cache.get("key")
    assert found is not None
    assert found.value == b"v" * 65000
    for key, value in ((b"k" * 65536, b""), (b"k", b"v" * 65536), (b"k" * 40000, b"v" * 40000)):
        assert not cache.put(key, value, ticket=0, deadline=FAR)
        assert cache.get(key) is None
    assert cache.get(b"k" * (1 << 20)) is None
    assert cache.stats().oversized == 3


def test_an_expired_value_is_a_miss() -> None:
    cache = SharedCache()
    cache.put("past", b"", ticket=0, deadline=time.monotonic_ns() - 1)
    cache.put("never", b"", ticket=0, deadline=0)
    assert cache.get("past") is None
    assert cache.get("never") is None
    soon = time.monotonic_ns() + 20_000_000
    cache.put("soon", b"", ticket=0, deadline=soon)
    while cache.get("soon") is not None:
        pass
    assert time.monotonic_ns() >= soon
    assert cache.stats().entries == 0


def test_the_first_value_to_expire_is_evicted() -> None:
    cache = one_set()
    for number in range(8):
        cache.put(f"{number}", b"", ticket=0, deadline=FAR + number * 7 % 8)
    order = sorted(range(8), key=lambda number: number * 7 % 8)
    for count, gone in enumerate(order, 1):
        cache.put(f"new {gone}", b"", ticket=0, deadline=TOP)
        assert cache.get(f"{gone}") is None
        assert all(cache.get(f"{left}") for left in order[count:])
        assert cache.stats().evictions == count


def test_an_expired_value_is_evicted_before_live_ones() -> None:
    cache = one_set()
    for number in range(8):
        cache.put(f"{number}", b"", ticket=0, deadline=1 if number == 5 else FAR)
    cache.put("new", b"", ticket=0, deadline=FAR)
    assert [number for number in range(8) if cache.get(f"{number}") is None] == [5]
    assert cache.stats().evictions == 0


def test_values_with_equal_deadlines_are_evicted_in_turn() -> None:
    cache = one_set()
    for number in range(24):
        cache.put(f"{number}", b"", ticket=0, deadline=FAR)
    assert [number for number in range(24) if cache.get(f"{number}")] == list(range(16, 24))
    assert cache.stats().evictions == 16


def test_put_replaces_the_value_of_its_key() -> None:
    cache = one_set()
    for number in range(100):
        cache.put("key", b"v" * number, ticket=number, deadline=FAR)
    stats = cache.stats()
    assert (stats.entries, stats.puts, stats.evictions) == (1, 100, 0)


def test_clear() -> None:
    cache = SharedCache()
    for number in range(100):
        cache.put(f"{number}", b"old", ticket=0, deadline=FAR)
    cache.clear()
    assert [cache.get(f"{number}") for number in range(100)] == [None] * 100
    assert cache.stats().entries == 0
    cache.put("5", b"new", ticket=0, deadline=FAR)
    assert cache.get("5") == (b"new", 0, FAR)
    assert cache.stats().entries == 1
    assert cache.stats().evictions == 0


def test_stats() -> None:
    cache = one_set()
    cache.put("key", b"", ticket=0, deadline=FAR)
    cache.put("large", bytes(1000), ticket=0, deadline=FAR)
    for key in ("key", "key", "other"):
        cache.get(key)
    assert cache.stats() == SharedCacheStats(
        hits=2, misses=1, retries=0, puts=1, oversized=1, busy=0, evictions=0,
        recovered=0, entries=1, capacity=8,
    )  # fmt: skip


# ---------------------------------------------------------------- memory


def test_passed_memory_is_shared_and_kept(memory: mmap.mmap) -> None:
    SharedCache.format(memory, slot_size=128, ways=4)
    first, second = SharedCache(memory), SharedCache(memory)
    assert (first.slot_size, first.capacity) == (128, 4 * ((65536 - 192) // (128 + 4 * 128)))
    first.put("key", b"value", ticket=1, deadline=FAR)
    del first
    assert second.get("key") == (b"value", 1, FAR)
    assert SharedCache(memory).stats() == second.stats()
    with pytest.raises(BufferError):
        memory.close()
    SharedCache.format(memory)
    assert SharedCache(memory).stats().entries == 0


def test_unformatted_or_foreign_memory(memory: mmap.mmap) -> None:
    for content in (bytes(HEADER_SIZE), b"\xff" * HEADER_SIZE, bytes(range(HEADER_SIZE))):
        memory[:HEADER_SIZE] = content
        with pytest.raises(ValueError, match="memory contains no SharedCache: format it first"):
            SharedCache(memory)
    with pytest.raises(ValueError, match="memory contains no SharedCache"):
        SharedCache(bytearray(8))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (1, 0),
        (2, 0),
        (2, 256 << 32),
        (2, 252 << 32 | 8),
        (2, 256 << 32 | 65),
        (2, 65536 << 32 | 64),
        (2, TOP),
        (3, 0),
        (3, 31),
        (3, TOP),
    ],
)
def test_damaged_header(memory: mmap.mmap, word: int, value: int) -> None:
    SharedCache.format(memory)
    memory[word * 8 : word * 8 + 8] = value.to_bytes(8, "little")
    with pytest.raises(ValueError, match=r"memory contains a (damaged )?SharedCache"):
        SharedCache(memory)


@given(st.data())
def test_no_content_of_the_sets_leads_outside(data: st.DataObject) -> None:
    """Only the locks must be intact: with any other content, lookups and puts still work."""
    memory = mmap.mmap(-1, ONE_SET)
    SharedCache.format(memory)
    cache = SharedCache(memory)
    cache.put("key", b"value", ticket=0, deadline=FAR)
    words = memoryview(memory).cast("Q")
    for _ in range(data.draw(st.integers(1, 40))):
        word = data.draw(st.integers(HEADER_SIZE // 8 + 7, ONE_SET // 8 - 1))
        words[word] = data.draw(st.integers(0, TOP) | st.just(0xFFFFFFFF))
    words.release()
    for key in ("key", "other", ""):
        cache.get(key)
    cache.stats()
    for number in range(9):
        assert cache.put(f"{number}", b"v", ticket=number, deadline=TOP)
    assert cache.get("8") == (b"v", 8, TOP)


def test_memory_must_fit() -> None:
    with pytest.raises(ValueError, match=f"one set of 8 slots needs {ONE_SET}"):
        SharedCache.format(bytearray(ONE_SET - 1))
    with pytest.raises(ValueError, match="needs"):
        SharedCache(size=0)
    with pytest.raises(ValueError, match="8-byte aligned"):
        SharedCache.format(memoryview(bytearray(1 << 16))[1:])
    with pytest.raises(BufferError):
        SharedCache.format(bytes(1 << 16))
    with pytest.raises(TypeError):
        SharedCache(5)  # type: ignore[arg-type]


def test_wrong_arguments(memory: mmap.mmap) -> None:
    SharedCache.format(memory)
    for geometry in ({"slot_size": 256}, {"ways": 8}, {"size": 1 << 16}):
        with pytest.raises(TypeError, match="memory already has the geometry that format"):
            SharedCache(memory, **geometry)
    for slot_size in (0, -8, 40, 65544):
        with pytest.raises(ValueError, match=f"slot_size must be 48 to 65536, not {slot_size}"):
            SharedCache.format(memory, slot_size=slot_size)
    with pytest.raises(ValueError, match="slot_size must be a multiple of 8, not 60"):
        SharedCache.format(memory, slot_size=60)
    for ways in (0, 65):
        with pytest.raises(ValueError, match=f"ways must be 1 to 64, not {ways}"):
            SharedCache.format(memory, ways=ways)
    with pytest.raises(TypeError, match="ways must be an int, not str"):
        SharedCache.format(memory, ways="8")  # type: ignore[arg-type]
    cache = SharedCache(memory)
    with pytest.raises(TypeError, match="key must be str or bytes, not int"):
        cache.get(5)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        cache.get("\ud800")
    with pytest.raises(TypeError, match="value must be bytes, not str"):
        cache.put("key", "value", ticket=0, deadline=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ticket must be >= 0, not -1"):
        cache.put("key", b"", ticket=-1, deadline=0)
    with pytest.raises(OverflowError):
        cache.put("key", b"", ticket=0, deadline=1 << 64)
    assert cache.stats().puts == 0


def test_not_initialised() -> None:
    cache = SharedCache.__new__(SharedCache)
    assert cache.get("key") is None
    assert not cache.put("key", b"", ticket=0, deadline=FAR)
    cache.clear()
    assert cache.stats() == (0,) * 10
    assert cache.capacity == 0


def test_cannot_be_initialised_again() -> None:
    cache = SharedCache()
    with pytest.raises(RuntimeError, match="already initialised"):
        cache.__init__()


def test_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(SharedCache())


def test_threads() -> None:
    cache = one_set()

    def work(number: int) -> None:
        for count in range(3_000):
            value = bytes([number]) * (count % 100)
            cache.put(f"{count % 3}", value, ticket=number, deadline=FAR)
            found = cache.get(f"{(count + 1) % 3}")
            assert found is None or set(found.value) <= {found.ticket}

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = cache.stats()
    assert stats.puts + stats.busy == 12_000
    assert stats.hits + stats.misses == 12_000
