"""Latencies by endpoint and status, in buckets."""

from __future__ import annotations

import pytest

from latchkey.box._latencies import LATENCY_BOUNDS, LATENCY_SIZE, Latencies
from tests.support.auth.latencies import memory, seen
from tests.support.auth.worker import Running


def test_each_duration_has_its_bucket() -> None:
    latencies = Latencies(memory())
    for number, bound in enumerate(LATENCY_BOUNDS):
        for duration in (bound, bound + 1):
            before = latencies.series().get(("x", 200), (0,) * (len(LATENCY_BOUNDS) + 2))
            latencies.observe("x", 200, duration)
            after = latencies.series()["x", 200]
            changed = [i for i in range(len(after) - 1) if after[i] != before[i]]
            assert changed == [number + (duration > bound)]
            assert after[-1] == before[-1] + duration
    assert list(LATENCY_BOUNDS) == sorted(set(LATENCY_BOUNDS))


def test_series_are_kept_in_the_same_memory() -> None:
    shared = memory()
    first = Latencies(shared)
    names = [("one", 200), ("one", 404), (None, 401), ("zwei.ü", 599), ("one", 100)]
    for endpoint, status in names:
        first.observe(endpoint, status, 5)
    again = Latencies(shared)
    assert again.series() == first.series()
    for endpoint, status in names:
        again.observe(endpoint, status, 5)
    assert seen(first) == dict.fromkeys(names, 2)


def test_requests_without_a_free_series_are_counted_together() -> None:
    latencies = Latencies(memory())
    for number in range(128):
        latencies.observe(f"e{number}", 200, 1)
    for endpoint, status in (("one more", 200), ("e5", 201), ("x" * 57, 200), ("e5", 99)):
        latencies.observe(endpoint, status, 1)
    latencies.observe("e5", 200, 1)
    counted = seen(latencies)
    assert counted["", 0] == 4
    assert counted["e5", 200] == 2
    assert len(counted) == 129
    assert seen(Latencies(memory())) == {}


def test_an_incomplete_name_is_ignored() -> None:
    """The first word is written last: a process that was killed before has named nothing."""
    shared = memory()
    Latencies(shared).observe("endpoint", 200, 1)
    words = shared.cast("Q")
    [first] = [i for i, word in enumerate(words) if word == (200 << 32) | len("endpoint")]
    words[first] = 0
    latencies = Latencies(shared)
    assert ("endpoint", 200) not in latencies.series()
    latencies.observe("other", 201, 1)
    assert seen(latencies)["other", 201] >= 1


@pytest.mark.parametrize("size", [0, LATENCY_SIZE - 1])
def test_memory_that_is_too_small(size: int) -> None:
    with pytest.raises(ValueError, match="memory must have"):
        Latencies(bytearray(size))
    with pytest.raises(ValueError, match="8-byte aligned"):
        Latencies(memoryview(bytearray(LATENCY_SIZE + 8))[1 : LATENCY_SIZE + 1])


def test_threads_agree_on_new_series() -> None:
    latencies = Latencies(memory())

    def observe() -> None:
        for number in range(100):
            latencies.observe(f"e{number}", 200, 1)

    threads = [Running(observe) for _ in range(4)]
    for thread in threads:
        thread.value()
    assert seen(latencies) == {(f"e{number}", 200): 4 for number in range(100)}
