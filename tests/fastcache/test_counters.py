"""Counters: named, cumulative, exact under threads."""

from __future__ import annotations

import mmap
import pickle
import threading
from functools import partial

import pytest

from fastcache.shared import Counters
from tests.support.fastcache.children import Child, all_end_well

TOP = (1 << 64) - 1


def test_names_and_values() -> None:
    counters = Counters(["hits", "misses"])
    assert counters.names == ("hits", "misses")
    assert len(counters) == 2
    counters.add(0)
    counters.add(1, 5)
    counters.add(1, amount=0)
    assert counters.value(0) == 1
    assert counters.snapshot() == {"hits": 1, "misses": 5}


def test_names_cannot_be_changed() -> None:
    counters = Counters(("hits",))
    with pytest.raises(AttributeError):
        counters.names = ("other",)  # type: ignore[misc]


def test_no_names() -> None:
    counters = Counters([])
    assert counters.snapshot() == {}
    with pytest.raises(IndexError):
        counters.value(0)


@pytest.mark.parametrize("index", [-1, 2, 10**6])
def test_index_is_bounded(index: int) -> None:
    counters = Counters(["a", "b"])
    with pytest.raises(IndexError, match=f"counter index {index} is not within 0 to 1"):
        counters.add(index)
    with pytest.raises(IndexError, match="is not within"):
        counters.value(index)
    assert counters.snapshot() == {"a": 0, "b": 0}


def test_raise_to_never_lowers() -> None:
    counters = Counters(["highest", "other"])
    assert counters.raise_to(0, 7)
    assert not counters.raise_to(0, 7)
    assert not counters.raise_to(0, 3)
    assert counters.raise_to(0, TOP)
    assert counters.snapshot() == {"highest": TOP, "other": 0}


def test_compare_exchange() -> None:
    counters = Counters(["turn", "other"])
    assert counters.compare_exchange(0, 0, 5)
    assert not counters.compare_exchange(0, 0, 6)
    assert counters.compare_exchange(0, 5, TOP)
    assert counters.compare_exchange(0, TOP, 1)
    assert counters.snapshot() == {"turn": 1, "other": 0}


def test_words_are_bounded() -> None:
    counters = Counters(["a"])
    with pytest.raises(ValueError, match="value must be >= 0, not -1"):
        counters.raise_to(0, -1)
    with pytest.raises(ValueError, match="expected must be >= 0, not -2"):
        counters.compare_exchange(0, -2, 1)
    with pytest.raises(ValueError, match="new must be >= 0, not -3"):
        counters.compare_exchange(0, 0, -3)
    with pytest.raises(OverflowError):
        counters.raise_to(0, TOP + 1)
    with pytest.raises(OverflowError):
        counters.compare_exchange(0, 0, TOP + 1)
    with pytest.raises(IndexError):
        counters.raise_to(1, 1)
    with pytest.raises(IndexError):
        counters.compare_exchange(-1, 0, 1)
    assert counters.value(0) == 0


def test_amount_is_bounded() -> None:
    counters = Counters(["a"])
    counters.add(0, TOP)
    assert counters.value(0) == TOP
    with pytest.raises(ValueError, match="amount must be >= 0, not -1"):
        counters.add(0, -1)
    with pytest.raises(OverflowError):
        counters.add(0, TOP + 1)
    assert counters.value(0) == TOP


def test_wrong_types() -> None:
    counters = Counters(["a"])
    with pytest.raises(TypeError):
        counters.add("a")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        counters.add(0, "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        counters.add(0, 1.5)  # type: ignore[arg-type]
    assert counters.value(0) == 0


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match="names must be distinct"):
        Counters(["a", "a"])
    with pytest.raises(TypeError, match="a name must be a str, not int"):
        Counters([1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not one string"):
        Counters("abc")


def test_not_initialised() -> None:
    counters = Counters.__new__(Counters)
    assert counters.snapshot() == {}
    with pytest.raises(IndexError):
        counters.add(0)


def test_passed_memory_keeps_its_counts() -> None:
    memory = bytearray(16)
    Counters(["a", "b"], memory=memory).add(1, 7)
    assert Counters(["a", "b"], memory=memory).snapshot() == {"a": 0, "b": 7}
    with pytest.raises(ValueError, match="memory has 16 bytes, 3 words need 24"):
        Counters(["a", "b", "c"], memory=memory)


def test_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Counters(["a"]))


def test_threads_add_exactly() -> None:
    counters = Counters(["a", "b"])

    def work(number: int) -> None:
        for _ in range(10_000):
            counters.add(number % 2, number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.snapshot() == {"a": 60_000, "b": 40_000}


def test_processes_take_turns_and_agree_on_the_maximum() -> None:
    memory = mmap.mmap(-1, 16)
    counters = Counters(["turn", "highest"], memory=memory)

    def work(number: int) -> None:
        won = 0
        while won < 500:
            seen = counters.value(0)
            won += counters.compare_exchange(0, seen, seen + 1)
            counters.raise_to(1, won * 4 + number)

    all_end_well([Child(partial(work, number)) for number in range(4)])
    assert counters.snapshot() == {"turn": 2000, "highest": 2003}
