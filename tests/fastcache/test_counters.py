"""Counters: named, cumulative, exact under threads."""

from __future__ import annotations

import pickle
import threading

import pytest

from fastcache import Counters

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


def test_given_memory_goes_on() -> None:
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
