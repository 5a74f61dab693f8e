"""SharedCache between processes that are killed and stopped at arbitrary points."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import random
import signal
import threading
import time
import zlib

import pytest

from fastcache.shared import Counters, SharedCache
from tests.support.fastcache.children import Child, Signal, all_end_well

pytestmark = pytest.mark.attack

FAR = time.monotonic_ns() + 10**15
LOCK_AT = 192
"""The position of the first set's lock: after the header."""
FIRST_SLOT = LOCK_AT + 128


def shared(size: int = LOCK_AT + 128 + 8 * 256) -> tuple[mmap.mmap, SharedCache]:
    """A cache with one set by default, for this process and its children."""
    memory = mmap.mmap(-1, size)
    SharedCache.format(memory)
    return memory, SharedCache(memory)


def checked_value(length: int) -> bytes:
    """Random bytes of a length, and a checksum of them."""
    body = random.randbytes(length)
    return zlib.crc32(body).to_bytes(4, "little") + body


def is_whole(value: bytes) -> bool:
    return zlib.crc32(value[4:]) == int.from_bytes(value[:4], "little")


class RobustList(ctypes.Structure):
    """The kernel's struct robust_list_head, which lists the locks that a thread holds."""

    _fields_ = (
        ("first", ctypes.c_void_p),
        ("futex_offset", ctypes.c_long),
        ("pending", ctypes.c_void_p),
    )


GET_ROBUST_LIST = {"x86_64": 274, "aarch64": 100}[platform.machine()]


def lock_first_set(memory: mmap.mmap) -> None:
    """Take the lock like a writer that does not continue."""
    found = ctypes.POINTER(RobustList)()
    size = ctypes.c_size_t()
    assert (
        ctypes.CDLL(None).syscall(GET_ROBUST_LIST, 0, ctypes.byref(found), ctypes.byref(size)) == 0
    )
    lock = ctypes.c_uint64.from_buffer(memory, LOCK_AT)
    found.contents.pending = ctypes.addressof(lock) - found.contents.futex_offset
    thread = threading.get_native_id()
    lock.value = (~thread & 0xFFFFFFFF) << 32 | thread


def half_change(memory: mmap.mmap, slot: int) -> None:
    """Leave a slot like a writer that ends in the middle of a change."""
    count = ctypes.c_uint64.from_buffer(memory, FIRST_SLOT + slot * 256)
    count.value += 1
    assert count.value & 1
    ticket = ctypes.c_uint64.from_buffer(memory, FIRST_SLOT + slot * 256 + 16)
    ticket.value = 999


def test_processes_share_values() -> None:
    _, cache = shared(1 << 16)

    def work() -> None:
        for number in range(50):
            assert cache.put(f"{number}", b"%d" % number, ticket=number, deadline=FAR)

    all_end_well([Child(work)])
    assert all(cache.get(f"{number}") == (b"%d" % number, number, FAR) for number in range(50))
    assert cache.stats().puts == 50


def test_a_writer_is_killed_with_the_lock_of_a_set() -> None:
    memory, cache = shared()
    for number in range(8):
        cache.put(f"{number}", b"old", ticket=0, deadline=FAR)

    def work() -> None:
        lock_first_set(memory)
        half_change(memory, 3)
        os.kill(os.getpid(), signal.SIGKILL)

    assert Child(work).wait() == -signal.SIGKILL
    # Readers continue: the slot being changed is a miss, the others are intact.
    assert [number for number in range(8) if cache.get(f"{number}") is None] == [3]
    assert cache.put("new", b"new", ticket=1, deadline=FAR)
    assert [cache.get(f"{number}") for number in range(8)] == [None] * 8
    assert cache.get("new") == (b"new", 1, FAR)
    assert cache.put("3", b"again", ticket=2, deadline=FAR)
    assert cache.get("3") == (b"again", 2, FAR)
    stats = cache.stats()
    assert (stats.recovered, stats.busy, stats.entries) == (1, 0, 2)


def test_a_writer_is_stopped_with_the_lock_of_a_set() -> None:
    memory, cache = shared()
    for number in range(8):
        cache.put(f"{number}", b"old", ticket=0, deadline=FAR)
    locked = Signal()

    def work() -> None:
        lock_first_set(memory)
        half_change(memory, 3)
        locked.send()
        signal.pause()

    with Child(work) as child:
        assert locked.receive()
        child.stop()
        assert [number for number in range(8) if cache.get(f"{number}") is None] == [3]
        for _ in range(100):
            assert not cache.put("new", b"new", ticket=1, deadline=FAR)
        cache.clear()
        assert [cache.get(f"{number}") for number in range(8)] == [None] * 8
        assert cache.stats().busy == 100
    assert cache.put("new", b"new", ticket=1, deadline=FAR)
    assert cache.get("new") == (b"new", 1, FAR)
    assert cache.stats().recovered == 1


def test_a_writer_is_killed_while_recovering() -> None:
    """An orphaned set can be abandoned again while it is recovered."""
    memory, cache = shared()

    def take() -> None:
        lock_first_set(memory)
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(5):
        assert Child(take).wait() == -signal.SIGKILL
    assert cache.put("key", b"value", ticket=0, deadline=FAR)
    assert cache.get("key") == (b"value", 0, FAR)
    assert cache.stats().recovered == 1


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_writers_that_end_anywhere_leave_no_torn_values(how: str, long: bool) -> None:
    """Readers verify every value while writers are killed or stopped at random.

    There is one set with more keys than slots, so every put changes a slot in use.
    """
    verified = 10_000_000 if long else 100_000
    rounds = 300 if long else 30
    _, cache = shared()
    words = Counters(["verified", "finished"], memory=mmap.mmap(-1, 16))
    keys = [f"key {number}" for number in range(12)]

    def write() -> None:
        random.seed()
        values = [checked_value(random.randrange(200)) for _ in range(300)]
        while True:
            for value in values:
                number = random.randrange(12)
                cache.put(keys[number], value, ticket=len(value) << 8 | number, deadline=FAR)

    def read() -> None:
        while not words.value(1):
            for number, key in enumerate(keys):
                found = cache.get(key)
                if found is not None:
                    assert is_whole(found.value)
                    assert found.ticket == len(found.value) << 8 | number
                    assert found.deadline == FAR
                    words.add(0)

    def disturb(writer: Child) -> Child:
        """Kill a writer, or stop it for a while, during which nothing may wait for it."""
        if how == "killed":
            writer.kill()
            return Child(write)
        writer.stop()
        time.sleep(random.uniform(0.001, 0.01))
        cache.put("other", b"", ticket=0, deadline=FAR)
        assert all(is_whole(found.value) for found in map(cache.get, keys) if found)
        writer.go_on()
        return writer

    with Child(read) as reader:
        writers = [Child(write) for _ in range(2)]
        try:
            disturbed = 0
            while disturbed < rounds or words.value(0) < verified:
                time.sleep(random.uniform(0.001, 0.02))
                writers[disturbed % 2] = disturb(writers[disturbed % 2])
                disturbed += 1
                assert os.waitpid(reader.pid, os.WNOHANG) == (0, 0), "the reader has failed"
        finally:
            for writer in writers:
                writer.kill()
        words.add(1)
        assert reader.wait() == 0
    # After the writers were killed, the cache works like a new one.
    assert cache.put("key", b"value", ticket=0, deadline=FAR)
    assert cache.get("key") == (b"value", 0, FAR)
