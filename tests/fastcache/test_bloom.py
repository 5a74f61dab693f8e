"""BloomFilter: no false negatives with any number of writers, and few false positives."""

from __future__ import annotations

import hashlib
import mmap
import pickle
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import BloomFilter
from tests.support.fastcache.children import Child, all_end_well


def digests(name: str, count: int) -> list[bytes]:
    return [hashlib.sha256(f"{name} {number}".encode()).digest() for number in range(count)]


@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=100),
    st.sampled_from([64, 128, 4096, 1 << 16]),
)
def test_every_member_is_found(members: list[bytes], bits: int) -> None:
    some = BloomFilter(bits)
    for number, member in enumerate(members):
        some.add(member)
        assert all(member in some for member in members[: number + 1])


def test_an_empty_filter_has_no_members() -> None:
    empty = BloomFilter()
    assert len(empty) == 65_536
    assert not any(digest in empty for digest in digests("stranger", 1000))
    assert bytes(32) not in empty


def test_false_positives_are_rare() -> None:
    some = BloomFilter(1 << 16)
    for member in digests("member", 3000):
        some.add(member)
    taken = sum(digest in some for digest in digests("stranger", 20_000))
    # 21.8 bits per member: 8 in 10,000. The digests are fixed, and so is the count.
    assert 0 < taken < 40


def test_a_full_filter_contains_everything() -> None:
    memory = bytearray(b"\xff" * 8)
    assert all(digest in BloomFilter(64, memory=memory) for digest in digests("x", 100))


def test_bits_are_selected_by_the_words_of_the_digest() -> None:
    memory = bytearray(16)
    words = [3, 64, 127, 128 + 5]
    BloomFilter(128, memory=memory).add(b"".join(word.to_bytes(8, "little") for word in words))
    assert int.from_bytes(memory, "little") == 1 << 3 | 1 << 64 | 1 << 127 | 1 << 5


@pytest.mark.parametrize("bits", [0, 32, 63, 96, -64, 1 << 62])
def test_bits(bits: int) -> None:
    with pytest.raises((ValueError, MemoryError, OverflowError)):
        BloomFilter(bits)


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="bits must be an int, not str"):
        BloomFilter("64")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory has 8 bytes, 2 words need 16"):
        BloomFilter(128, memory=bytearray(8))
    some = BloomFilter(64)
    for digest in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match=f"a digest has 32 bytes, not {len(digest)}"):
            some.add(digest)
        with pytest.raises(ValueError, match="a digest has 32 bytes"):
            assert digest in some
    with pytest.raises(TypeError, match="digest must be bytes, not str"):
        some.add("x" * 32)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="already initialised"):
        some.__init__(64)


def test_not_initialised() -> None:
    some = BloomFilter.__new__(BloomFilter)
    with pytest.raises(RuntimeError, match="not initialised"):
        some.add(bytes(32))
    with pytest.raises(RuntimeError, match="not initialised"):
        assert bytes(32) in some


def test_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(BloomFilter(64))


def test_processes_and_threads_lose_no_member() -> None:
    """All change the same few words at the same time."""
    memory = mmap.mmap(-1, 512)
    some = BloomFilter(4096, memory=memory)
    members = [digests(f"writer {number}", 60) for number in range(6)]

    def work(own: list[bytes]) -> None:
        for digest in own:
            some.add(digest)

    children = [Child(partial(work, own)) for own in members[:3]]
    threads = [threading.Thread(target=work, args=(own,)) for own in members[3:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_end_well(children)
    assert all(digest in some for own in members for digest in own)
