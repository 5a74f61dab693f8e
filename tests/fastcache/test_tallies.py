"""Tallies: rows of counters, limited to the backed memory."""

from __future__ import annotations

import mmap
import pickle
import sys
import threading
from array import array
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import Tallies
from fastcache.shared.segment_layout import bound_word
from tests.support.fastcache.children import Child, all_end_well

TOP = (1 << 64) - 1
FIELDS = ("uses", "last_used", "refused")


def test_rows_and_fields() -> None:
    tallies = Tallies(FIELDS, 10)
    assert tallies.fields == FIELDS
    assert (tallies.rows, len(tallies), tallies.backed_rows) == (10, 10, 10)
    assert tallies.row_size == 24
    assert tallies.add(3, 0)
    assert tallies.add(3, 0, 5)
    assert tallies.put(3, 1, 900)
    assert tallies.put(3, 1, 800)
    assert tallies.raise_to(3, 2, 7)
    assert tallies.raise_to(3, 2, 6)
    assert tallies.row(3) == (6, 800, 7)
    assert [tallies.value(3, field) for field in range(3)] == [6, 800, 7]
    assert tallies.row(2) == tallies.row(4) == (0, 0, 0)


def test_a_row_is_contiguous() -> None:
    memory = array("Q", bytes(8 * 6))
    tallies = Tallies(FIELDS, 2, memory=memory)
    for field in range(3):
        tallies.add(1, field, field + 1)
    assert list(memory) == [0, 0, 0, 1, 2, 3]
    del tallies
    assert Tallies(FIELDS, 2, memory=memory).row(1) == (1, 2, 3)


@pytest.mark.parametrize("row", [10, 11, 1 << 60, TOP])
def test_rows_beyond_the_last(row: int) -> None:
    tallies = Tallies(FIELDS, 10)
    assert not tallies.add(row, 0)
    assert not tallies.put(row, 0, 1)
    assert not tallies.raise_to(row, 0, 1)
    assert tallies.value(row, 0) == 0
    assert tallies.row(row) == (0, 0, 0)
    assert tallies.changes(b"") == []


def test_rows_become_usable_as_the_bound_rises() -> None:
    memory, backed = bytearray(24 * 500), bytearray(8)
    tallies = Tallies(FIELDS, 500, memory=memory, backed=backed)
    assert tallies.backed_rows == 0
    for size, rows in ((0, 0), (4096, 170), (8192, 341), (12288, 500), (1 << 40, 500)):
        backed[:] = bound_word(size).to_bytes(8, sys.byteorder)
        assert tallies.backed_rows == rows
        assert not tallies.add(rows, 0)
        assert rows == 0 or tallies.add(rows - 1, 0)
    assert tallies.changes(b"") == [169, 340, 499]


def test_a_damaged_bound_is_ignored() -> None:
    """Damage to any single byte makes no row usable or unusable."""
    memory, backed = bytearray(24 * 500), bytearray(8)
    tallies = Tallies(FIELDS, 500, memory=memory, backed=backed)
    whole = bound_word(4096).to_bytes(8, sys.byteorder)
    backed[:] = whole
    assert tallies.backed_rows == 170
    for at in range(8):
        for bit in range(8):
            backed[:] = whole
            backed[at] ^= 1 << bit
            assert tallies.backed_rows == 170
            assert not tallies.add(170, 0)
            assert tallies.add(169, 0)
    for content in (bytes(8), b"\xff" * 8, b"\x01" * 8):
        backed[:] = content
        assert tallies.backed_rows == 170


def test_unbacked_rows_are_not_accessed() -> None:
    """Otherwise, the content of unbacked memory would be read or changed."""
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        tallies = Tallies(FIELDS, 10, memory=memory, backed=bytearray(8))
        memory[:] = b"\xff" * len(memory)
        assert tallies.row(0) == (0, 0, 0)
        assert tallies.changes(bytes(240)) == []
        assert not tallies.add(0, 0)
        assert memory[:] == b"\xff" * len(memory)
        del tallies


def test_field_is_bounded() -> None:
    tallies = Tallies(FIELDS, 1)
    for field in (-1, 3, 10**6):
        with pytest.raises(IndexError, match=f"field {field} is not within 0 to 2"):
            tallies.add(0, field)
        with pytest.raises(IndexError):
            tallies.put(0, field, 1)
        with pytest.raises(IndexError):
            tallies.raise_to(0, field, 1)
        with pytest.raises(IndexError):
            tallies.value(0, field)
    with pytest.raises(IndexError, match="field 3 is not within 0 to 2"):
        tallies.changes(b"", 3)


def test_numbers_are_bounded() -> None:
    tallies = Tallies(FIELDS, 1)
    with pytest.raises(ValueError, match="row must be >= 0, not -1"):
        tallies.add(-1, 0)
    with pytest.raises(ValueError, match="row must be >= 0, not -1"):
        tallies.row(-1)
    with pytest.raises(ValueError, match="amount must be >= 0, not -1"):
        tallies.add(0, 0, -1)
    with pytest.raises(ValueError, match="value must be >= 0, not -1"):
        tallies.put(0, 0, -1)
    with pytest.raises(OverflowError):
        tallies.raise_to(0, 0, TOP + 1)
    with pytest.raises(OverflowError):
        tallies.row(TOP + 1)
    with pytest.raises(TypeError):
        tallies.add("0", 0)  # type: ignore[arg-type]
    assert tallies.row(0) == (0, 0, 0)


@given(
    st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=50),
    st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=50),
)
def test_changes(now: list[tuple[int, ...]], then: list[tuple[int, ...]]) -> None:
    tallies = Tallies(FIELDS, 50)
    for number, row in enumerate(now):
        for field, value in enumerate(row):
            tallies.put(number, field, value)
    known = [*then, *[(0, 0, 0)] * (50 - len(then))]
    since = array("Q", [value for row in then for value in row])
    rows = range(50)
    assert tallies.changes(since) == [row for row in rows if tallies.row(row) != known[row]]
    for field in range(3):
        since = array("Q", [row[field] for row in then])
        assert tallies.changes(since, field) == [
            row for row in rows if tallies.value(row, field) != known[row][field]
        ]


def test_changes_of_very_many() -> None:
    tallies = Tallies(("uses",), 5000)
    changed = [row for row in range(5000) if row % 3 == 0]
    for row in changed:
        tallies.add(row, 0)
    assert tallies.changes(b"") == changed
    assert tallies.changes(array("Q", [1, 0, 0] * 1667)) == []


def test_changes_takes_a_buffer_of_words() -> None:
    tallies = Tallies(FIELDS, 1)
    with pytest.raises(ValueError, match="8-byte aligned"):
        tallies.changes(memoryview(bytearray(32))[1:])
    with pytest.raises(TypeError):
        tallies.changes(None)  # type: ignore[arg-type]


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="not one string"):
        Tallies("uses", 1)
    with pytest.raises(ValueError, match="at least one name"):
        Tallies((), 1)
    with pytest.raises(ValueError, match="distinct"):
        Tallies(("a", "a"), 1)
    with pytest.raises(TypeError, match="rows must be an int, not str"):
        Tallies(FIELDS, "1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows must be >= 0, not -1"):
        Tallies(FIELDS, -1)
    with pytest.raises(ValueError, match="memory has 24 bytes, 6 words need 48"):
        Tallies(FIELDS, 2, memory=bytearray(24))
    with pytest.raises(ValueError, match="backed requires memory"):
        Tallies(FIELDS, 2, backed=bytearray(8))
    with pytest.raises(ValueError, match="memory has 7 bytes"):
        Tallies(FIELDS, 1, memory=bytearray(24), backed=bytearray(7))
    with pytest.raises((MemoryError, OverflowError)):
        Tallies(FIELDS, 1 << 60)


def test_not_initialised() -> None:
    tallies = Tallies.__new__(Tallies)
    assert tallies.backed_rows == len(tallies) == 0
    assert tallies.changes(b"") == []
    with pytest.raises(IndexError):
        tallies.add(0, 0)
    with pytest.raises(TypeError):
        tallies.row(0)


def test_cannot_be_initialised_again() -> None:
    tallies = Tallies(FIELDS, 1)
    with pytest.raises(RuntimeError, match="already initialised"):
        tallies.__init__(FIELDS, 2)
    assert tallies.rows == 1


def test_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Tallies(FIELDS, 1))


def test_processes_and_threads_lose_no_counts() -> None:
    memory = mmap.mmap(-1, 24 * 4)
    tallies = Tallies(FIELDS, 4, memory=memory)

    def work(number: int) -> None:
        for count in range(2_000):
            tallies.add(2, 0)
            tallies.raise_to(2, 1, count * 8 + number)

    children = [Child(partial(work, number)) for number in range(2)]
    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_end_well(children)
    assert tallies.row(2) == (8_000, 1_999 * 8 + 3, 0)
    assert tallies.changes(b"") == [2]
