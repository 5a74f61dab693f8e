"""Times calls in short blocks; the peers take turns in random order within one process."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from time import perf_counter_ns

from benchmarks.micro.cases import Case, MicroJob
from benchmarks.micro.keys import Draws, make_key, make_value
from benchmarks.micro.peers import LOOP, Found, MeasuredCache

FILL_BLOCK = 10_000
CHECKED = 2_000

Samples = dict[str, list[float]]
"""For each peer, the nanoseconds of one call, one figure per round."""


def fill(cache: MeasuredCache, entries: int) -> None:
    """Store `entries` keys with values; all objects belong to this cache only."""
    for start in range(0, entries, FILL_BLOCK):
        numbers = range(start, min(start + FILL_BLOCK, entries))
        cache.set_each([make_key(number) for number in numbers], map(make_value, numbers))
    cache.settle()


def filled(job: MicroJob, found: Found) -> dict[str, MeasuredCache]:
    """A full cache of each available peer of the job; all cases have the same size."""
    (entries,) = {case.entries for case in job.cases}
    caches = {name: found.make(name, entries) for name in job.peers if name in found.modules}
    for cache in caches.values():
        fill(cache, entries)
    return caches


def kept(caches: dict[str, MeasuredCache], case: Case, rng: random.Random) -> dict[str, float]:
    """The share of present keys that each peer finds: 1, unless it dropped or rejected some."""
    present = Case("get", case.entries, case.pattern)
    numbers = Draws(present, rng, CHECKED).take(CHECKED)
    return {
        name: sum(cache.holds(make_key(number)) for number in numbers) / CHECKED
        for name, cache in caches.items()
    }


def _rounds(
    job: MicroJob, caches: dict[str, MeasuredCache], rng: random.Random
) -> Iterable[list[str]]:
    """The order of the peers in each round."""
    for _ in range(job.warm_rounds + job.rounds):
        order = list(caches)
        rng.shuffle(order)
        yield order


def _without_warm_up(job: MicroJob, samples: dict[Case, Samples]) -> dict[Case, Samples]:
    return {
        case: {
            name: [round(one, 3) for one in each[job.warm_rounds :]] for name, each in by.items()
        }
        for case, by in samples.items()
    }


def time_gets(
    job: MicroJob, caches: dict[str, MeasuredCache], rng: random.Random
) -> dict[Case, Samples]:
    """Time lookups in one thread; the empty loop takes its turn like a peer."""
    asked = {**caches, LOOP: Found({}, {}, {}).make(LOOP, 0)}
    count = job.prelude + job.block
    slices = len(asked) * (job.warm_rounds + job.rounds)
    draws = {case: Draws(case, rng, count, slices) for case in job.cases}
    samples: dict[Case, Samples] = {case: {name: [] for name in asked} for case in job.cases}
    for order in _rounds(job, asked, rng):
        for case in job.cases:
            for name in order:
                cache = asked[name]
                keys = [make_key(number) for number in draws[case].take(count)]
                timed = keys[job.prelude :]
                cache.get_each(keys[: job.prelude])
                start = perf_counter_ns()
                cache.get_each(timed)
                samples[case][name].append((perf_counter_ns() - start) / job.block)
    return _without_warm_up(job, samples)


def time_sets(
    job: MicroJob, caches: dict[str, MeasuredCache], rng: random.Random
) -> dict[Case, Samples]:
    """Time stores of new keys in full caches: each must evict an entry (or reject the key)."""
    (case,) = job.cases
    asked = {**caches, LOOP: Found({}, {}, {}).make(LOOP, 0)}
    samples: Samples = {name: [] for name in asked}
    count = job.prelude + job.block
    following = dict.fromkeys(asked, case.entries)
    for order in _rounds(job, asked, rng):
        for name in order:
            cache, first = asked[name], following[name]
            following[name] += count
            numbers = range(first, first + count)
            keys = [make_key(number) for number in numbers]
            values = [make_value(number) for number in numbers]
            timed, timed_values = keys[job.prelude :], values[job.prelude :]
            cache.set_each(keys[: job.prelude], values)
            start = perf_counter_ns()
            cache.set_each(timed, timed_values)
            samples[name].append((perf_counter_ns() - start) / job.block)
            cache.forget(keys)
    return _without_warm_up(job, {case: samples})


def time_threads(
    job: MicroJob, caches: dict[str, MeasuredCache], rng: random.Random
) -> dict[Case, Samples]:
    """Time lookups in several threads: wall time from the first start to the last end, per call.

    Each thread creates its own keys, as a request does.
    """
    samples: dict[Case, Samples] = {case: {name: [] for name in caches} for case in job.cases}
    turns = [(case, name) for case in job.cases for name in caches]
    slices = len(caches) * sum(case.threads for case in job.cases) * job.rounds
    draws = Draws(job.cases[0], rng, job.prelude + job.block, slices)
    for _ in range(job.warm_rounds + job.rounds):
        rng.shuffle(turns)
        for case, name in turns:
            samples[case][name].append(_together(caches[name], case.threads, job, draws))
    return _without_warm_up(job, samples)


def _together(cache: MeasuredCache, threads: int, job: MicroJob, draws: Draws) -> float:
    """Nanoseconds per call when `threads` threads make `job.block` calls each."""
    barrier = threading.Barrier(threads)
    slices = [draws.take(job.prelude + job.block) for _ in range(threads)]
    spans: list[tuple[int, int]] = []

    def look_up(numbers: Iterable[int]) -> None:
        keys = [make_key(number) for number in numbers]
        timed = keys[job.prelude :]
        cache.get_each(keys[: job.prelude])
        barrier.wait()
        start = perf_counter_ns()
        cache.get_each(timed)
        spans.append((start, perf_counter_ns()))

    workers = [threading.Thread(target=look_up, args=(numbers,)) for numbers in slices]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if len(spans) != threads:
        raise RuntimeError("a thread failed; see the error above")
    elapsed = max(end for _, end in spans) - min(start for start, _ in spans)
    return elapsed / (threads * job.block)
