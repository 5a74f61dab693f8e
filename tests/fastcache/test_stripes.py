"""Stripes: generations that only ever increase."""

from __future__ import annotations

import mmap
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import Stripes

MASK = (1 << 64) - 1


def stripe_of(key: bytes, count: int) -> int:
    """The documented hash, in plain Python."""

    def mixed(state: int, word: int) -> int:
        state = (state ^ word) * 0xD6E8FEB86659FD93 & MASK
        return state ^ (state >> 32)

    state = 0x9E3779B97F4A7C15 ^ len(key)
    for start in range(0, len(key), 8):
        state = mixed(state, int.from_bytes(key[start : start + 8], "little"))
    return mixed(state, 0) & (count - 1)


def generations(memory: mmap.mmap) -> list[int]:
    words = memoryview(memory).cast("Q")
    try:
        return list(words)
    finally:
        words.release()


@given(st.binary(max_size=70))
def test_index_is_the_documented_hash(key: bytes) -> None:
    with mmap.mmap(-1, 8 * 4096) as memory:
        stripes = Stripes(4096, memory=memory)
        stripes.invalidate(key)
        expected = [0] * 4096
        expected[stripe_of(key, 4096)] = 1
        assert generations(memory) == expected
        assert stripes.generation(key) == 1
        del stripes


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_str_stands_for_its_utf8_bytes(key: str) -> None:
    stripes = Stripes()
    stripes.invalidate(key)
    assert stripes.generation(key) == stripes.generation(key.encode()) == 1


def test_known_answers() -> None:
    """These must never change: processes of different versions share one array."""
    assert stripe_of(b"", 65536) == 10929
    assert stripe_of(b"key_id", 65536) == 56752
    assert stripe_of(b"0123456789abcdef", 65536) == 19650


def test_length_and_start() -> None:
    assert len(Stripes()) == 65536
    assert len(Stripes(1)) == 1
    assert Stripes(8).generation("key") == 0


def test_invalidate_increments_one_stripe() -> None:
    stripes = Stripes(2)
    keys = {stripe_of(str(n).encode(), 2): str(n) for n in range(20)}
    for expected in range(1, 6):
        stripes.invalidate(keys[0])
        assert stripes.generation(keys[0]) == expected
        assert stripes.generation(keys[1]) == 0


def test_invalidate_all() -> None:
    stripes = Stripes(64)
    stripes.invalidate("one")
    before = {key: stripes.generation(key) for key in map(str, range(500))}
    stripes.invalidate_all()
    assert {key: stripes.generation(key) - 1 for key in before} == before


@pytest.mark.parametrize("count", [0, -1, -4, 3, 6, 65535])
def test_count_is_a_power_of_two(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be a power of two, not {count}"):
        Stripes(count)


@pytest.mark.parametrize("count", ["8", 8.0, None])
def test_count_is_an_int(count: object) -> None:
    with pytest.raises(TypeError, match="count must be an int"):
        Stripes(count)  # type: ignore[arg-type]


def test_too_many() -> None:
    with pytest.raises((MemoryError, OverflowError)):
        Stripes(1 << 62)
    with pytest.raises(OverflowError):
        Stripes(1 << 64)


@pytest.mark.parametrize("key", [1, None, bytearray(b"key"), ("key",)])
def test_key_is_text_or_bytes(key: object) -> None:
    stripes = Stripes(8)
    with pytest.raises(TypeError, match="key must be str or bytes, not "):
        stripes.generation(key)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key must be str or bytes, not "):
        stripes.invalidate(key)  # type: ignore[arg-type]


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        Stripes(8).generation("\ud800")


def test_not_initialised() -> None:
    stripes = Stripes.__new__(Stripes)
    assert len(stripes) == 0
    stripes.invalidate_all()
    with pytest.raises(RuntimeError, match="not initialised"):
        stripes.generation("key")


def test_cannot_be_initialised_again() -> None:
    stripes = Stripes(8)
    with pytest.raises(RuntimeError, match="already initialised"):
        stripes.__init__(16)


def test_memory_must_fit() -> None:
    with pytest.raises(ValueError, match="memory has 63 bytes, 8 words need 64"):
        Stripes(8, memory=bytearray(63))
    with pytest.raises(ValueError, match="8-byte aligned"):
        Stripes(8, memory=memoryview(bytearray(80))[1:])
    with pytest.raises(BufferError):
        Stripes(8, memory=bytes(64))
    with pytest.raises(TypeError):
        Stripes(8, memory=5)  # type: ignore[arg-type]


def test_memory_is_kept_while_in_use() -> None:
    memory = bytearray(64)
    stripes = Stripes(8, memory=memory)
    with pytest.raises(BufferError):
        memory.clear()
    del stripes
    memory.clear()


def test_passed_memory_is_shared_and_kept() -> None:
    memory = bytearray(64)
    first = Stripes(8, memory=memory)
    first.invalidate("key")
    second = Stripes(8, memory=memory)
    assert second.generation("key") == 1
    second.invalidate("key")
    assert first.generation("key") == 2


def test_processes_share_generations() -> None:
    memory = mmap.mmap(-1, 8 * 64)
    stripes = Stripes(64, memory=memory)
    child = os.fork()
    if child == 0:
        for _ in range(1000):
            stripes.invalidate("key")
        os._exit(0)
    for _ in range(1000):
        stripes.invalidate(b"key")
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert stripes.generation("key") == 2000


def test_threads_lose_no_increment() -> None:
    stripes = Stripes(16)

    def work() -> None:
        last = 0
        for _ in range(5_000):
            stripes.invalidate("key")
            now = stripes.generation("key")
            assert now > last
            last = now

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stripes.generation("key") == 20_000
