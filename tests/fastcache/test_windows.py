"""WindowTable: counts per window, in a table of fixed size."""

from __future__ import annotations

import mmap
import os
import pickle
import random
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import WindowTable
from tests.support.fastcache.children import Child, Gate, all_end_well

TOP = (1 << 64) - 1
HASHES = st.integers(0, TOP)


def test_counts_within_a_window() -> None:
    table = WindowTable()
    assert len(table) == 4096
    assert table.count(5 << 32, 1) == 0
    assert [table.hit(5 << 32, 1, 10) for _ in range(3)] == [1, 2, 3]
    assert table.count(5 << 32, 1) == 3
    assert table.count(6 << 32, 1) == 0
    assert table.hit(5 << 32, 2, 10) == 1
    assert table.count(5 << 32, 2) == 1


def test_hits_over_the_limit_are_not_counted() -> None:
    table = WindowTable()
    assert [table.hit(7, 1, 3) for _ in range(6)] == [1, 2, 3, 4, 4, 4]
    assert table.count(7, 1) == 4
    # The limit may be lowered or raised during a window.
    assert table.hit(7, 1, 2) == 3
    assert table.hit(7, 1, 5) == 5
    assert table.hit(8, 1, 0) == 1
    assert table.hit(8, 1, 0) == 1


def test_the_largest_limit() -> None:
    table = WindowTable(8)
    most = (1 << 20) - 2
    for _ in range(most + 5):
        count = table.hit(0, 0, most)
    assert count == table.count(0, 0) == most + 1
    assert table.count(1 << 32, 0) == 0
    with pytest.raises(ValueError, match=f"limit must be up to {most}, not {most + 1}"):
        table.hit(0, 0, most + 1)


@given(st.lists(st.tuples(HASHES, st.integers(0, 3)), max_size=200))
def test_counts_are_exact_while_there_is_room(hits: list[tuple[int, int]]) -> None:
    table = WindowTable(1 << 16)
    reference: Counter[tuple[int, int, int]] = Counter()
    for key, window in sorted(hits, key=lambda hit: hit[1]):
        # Keys with the same upper half and the same group are counted as one.
        known = (key >> 32, key % (1 << 13), window)
        reference[known] += 1
        assert table.hit(key, window, 1000) == reference[known]
        assert table.count(key, window) == reference[known]


@given(HASHES, st.integers(0, TOP - 10_000))
def test_windows_of_any_number(key: int, window: int) -> None:
    table = WindowTable()
    assert table.hit(key, window, 10) == 1
    for later in (1, 2, 2000, 4093, 5000):
        assert table.count(key, window + later) == 0
    assert table.hit(key, window + 1, 10) == 1
    assert table.hit(key, window + 1, 10) == 2
    assert table.hit(key, window + 4000, 10) == 1


def test_an_older_clock_reading_counts_in_the_current_window() -> None:
    table = WindowTable()
    assert table.hit(7, 4096, 10) == 1
    assert table.hit(7, 4095, 10) == 2
    assert table.count(7, 4096) == 2
    assert table.count(7, 4095) == 2


def test_the_oldest_then_the_least_counted_key_is_evicted() -> None:
    table = WindowTable(8)
    for number in range(8):
        window = 1 if number in (2, 5) else 2
        for _ in range(3 if number == 2 else number + 1):
            table.hit(number << 32, window, 100)
    counts = {number: table.count(number << 32, 2) for number in range(8)}
    assert counts == {0: 1, 1: 2, 2: 0, 3: 4, 4: 5, 5: 0, 6: 7, 7: 8}
    # First the two of the previous window, the smaller count first; then by count.
    for new, gone in enumerate([2, 5, 0, 1], 100):
        for _ in range(50):
            table.hit(new << 32, 2, 100)
        assert table.count(gone << 32, 1) == 0
        kept = [number for number in (3, 4, 6, 7) if table.count(number << 32, 2) == number + 1]
        assert kept == [3, 4, 6, 7]


def test_a_flood_of_keys_does_not_evict_a_key_over_the_limit() -> None:
    table = WindowTable(64)
    generator = random.Random(4)
    blocked = [generator.getrandbits(64) for _ in range(8)]
    for key in blocked:
        for _ in range(11):
            table.hit(key, 5, 10)
    for _ in range(10_000):
        table.hit(generator.getrandbits(64), 5, 10)
    assert [table.hit(key, 5, 10) for key in blocked] == [11] * 8


@pytest.mark.parametrize("slots", [0, 4, 12, -8, 1 << 62])
def test_slots(slots: int) -> None:
    with pytest.raises((ValueError, MemoryError, OverflowError)):
        WindowTable(slots)
    assert len(WindowTable(8)) == 8


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="slots must be an int, not str"):
        WindowTable("8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory has 56 bytes, 8 words need 64"):
        WindowTable(8, memory=bytearray(56))
    table = WindowTable(8)
    with pytest.raises(ValueError, match="key_hash must be >= 0, not -1"):
        table.hit(-1, 0, 1)
    with pytest.raises(ValueError, match="window must be >= 0, not -1"):
        table.count(0, -1)
    with pytest.raises(ValueError, match="limit must be >= 0, not -1"):
        table.hit(0, 0, -1)
    with pytest.raises(OverflowError):
        table.hit(TOP + 1, 0, 1)
    with pytest.raises(TypeError):
        table.hit("key", 0, 1)  # type: ignore[arg-type]


def test_not_initialised() -> None:
    table = WindowTable.__new__(WindowTable)
    with pytest.raises(RuntimeError, match="not initialised"):
        table.hit(0, 0, 1)
    with pytest.raises(RuntimeError, match="not initialised"):
        table.count(0, 0)


def test_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(WindowTable())


def test_passed_memory_is_shared_and_kept() -> None:
    memory = bytearray(64)
    first, second = WindowTable(8, memory=memory), WindowTable(8, memory=memory)
    first.hit(3, 1, 10)
    assert second.hit(3, 1, 10) == 2
    # As documented: hash, window, count.
    assert int.from_bytes(memory[:8], "little") == 1 << 20 | 2


def test_processes_and_threads_lose_no_count() -> None:
    memory = mmap.mmap(-1, 8 * 64)
    table = WindowTable(64, memory=memory)
    keys = [number << 32 | number for number in range(8)]

    def work() -> None:
        for _ in range(500):
            for key in keys:
                table.hit(key, 9, 1_000_000)

    children = [Child(work) for _ in range(3)]
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_end_well(children)
    assert [table.count(key, 9) for key in keys] == [3000] * 8


def test_concurrent_first_hits_share_one_slot() -> None:
    for attempt in range(20):
        memory = mmap.mmap(-1, 64)
        table = WindowTable(8, memory=memory)
        gate = Gate()

        def work(table: WindowTable = table, gate: Gate = gate) -> None:
            gate.wait()
            table.hit(77 << 32, 1, 100)

        children = [Child(work) for _ in range(4)]
        gate.open()
        all_end_well(children)
        assert table.count(77 << 32, 1) == 4, attempt
        assert sum(1 for at in range(0, 64, 8) if any(memory[at : at + 8])) == 1


def test_a_killed_process_leaves_consistent_counts() -> None:
    memory = mmap.mmap(-1, 8 * 8)
    table = WindowTable(8, memory=memory)

    def work() -> None:
        random.seed()
        while True:
            table.hit(random.randrange(12) << 32, 1, 1000)

    for _ in range(20):
        with Child(work):
            os.sched_yield()
    words = memoryview(memory).cast("Q")
    assert {word >> 20 & 0xFFF for word in words if word} <= {1}
    assert {word >> 32 for word in words if word} <= set(range(12))
    words.release()
    assert table.hit(99 << 32, 2, 10) == 1
