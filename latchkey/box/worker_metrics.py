"""Counters of each worker, in its own block of shared memory, and the totals of all workers.

A block outlives its worker: the next worker that claims it continues its counters, so that a total
never decreases. Block 0 has no owner: workers that find no free block share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from fastcache.shared import Counters, Segment, SegmentFull
from latchkey.box._latencies import LATENCY_SIZE, Latencies
from latchkey.box.counter_names import (
    VERIFY_PROXIES,
    Count,
    Gauge,
    Verified,
    verified_index,
)

SHARED_BLOCK = 0

_GAUGES_AT = 64 * 8
_VERIFIED_AT = _GAUGES_AT + 8 * 8
_LATENCIES_AT = _VERIFIED_AT + 64 * 8
# Whole cache lines: two workers never write to the same one.
_LINE = 64
BLOCK_SIZE = -(-(_LATENCIES_AT + LATENCY_SIZE) // _LINE) * _LINE

Series = dict[tuple[str | None, int], tuple[int, ...]]


class Block:
    """One worker's counters, gauges and latencies in ``memory``, BLOCK_SIZE bytes.

    ``alone``: no other process writes to it.
    """

    def __init__(self, memory: memoryview, *, alone: bool = False) -> None:
        self.alone = alone
        self.counters = Counters([count.name.lower() for count in Count], memory=memory)
        self.verified = Counters(
            [f"{proxy}_{outcome.name.lower()}" for proxy in VERIFY_PROXIES for outcome in Verified],
            memory=memory[_VERIFIED_AT:_LATENCIES_AT],
        )
        self.latencies = Latencies(memory[_LATENCIES_AT:], alone=alone)
        self._gauges = memory[_GAUGES_AT:_VERIFIED_AT].cast("Q")
        # Evictions that earlier workers of this block counted, from caches that no longer exist.
        self._evicted = [self.counters.value(count) for count in _EVICTED]

    def set_entries(self, known: int, unknown: int) -> None:
        """Set how many entries the worker's own caches hold now."""
        self._gauges[Gauge.KNOWN] = known
        self._gauges[Gauge.UNKNOWN] = unknown

    def set_evictions(self, known: int, unknown: int) -> None:
        """Set how many entries they have evicted since the worker started."""
        for count, before, now in zip(_EVICTED, self._evicted, (known, unknown), strict=True):
            self.counters.raise_to(count, before + now)

    def gauge(self, index: Gauge) -> int:
        """The value that the worker last set."""
        return self._gauges[index]

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        # Read in this order: a request that finishes in between does not make the number negative.
        finished = self.counters.value(Count.FINISHED)
        return max(0, self.counters.value(Count.STARTED) - finished)

    def take_over(self) -> None:
        """Continue the block of a worker that has ended, whose requests are no longer in flight."""
        self.counters.raise_to(Count.FINISHED, self.counters.value(Count.STARTED))
        self.set_entries(0, 0)


_EVICTED = (Count.EVICTED_KNOWN, Count.EVICTED_UNKNOWN)


@dataclass
class Totals:
    """The totals of all blocks. Current values are summed over living workers only."""

    counts: dict[Count, int] = field(default_factory=lambda: dict.fromkeys(Count, 0))
    gauges: dict[Gauge, int] = field(default_factory=lambda: dict.fromkeys(Gauge, 0))
    verified: dict[tuple[str, Verified], int] = field(
        default_factory=lambda: dict.fromkeys(product(VERIFY_PROXIES, Verified), 0)
    )
    """By kind of proxy and outcome."""
    in_flight: int = 0
    series: Series = field(default_factory=dict)
    """By endpoint and status; see ``Latencies.series``."""

    def add(self, block: Block, living: bool) -> None:
        """Add a block's counters, and its current values if its worker is ``living``."""
        for count in Count:
            self.counts[count] += block.counters.value(count)
        for proxy, outcome in self.verified:
            index = verified_index(proxy, outcome)
            self.verified[proxy, outcome] += block.verified.value(index)
        for name, values in block.latencies.series().items():
            before = self.series.get(name, (0,) * len(values))
            self.series[name] = tuple(map(sum, zip(before, values, strict=True)))
        if living:
            self.in_flight += block.in_flight
            for gauge in Gauge:
                self.gauges[gauge] += block.gauge(gauge)


class WorkerMetrics:
    """The blocks in ``memory``; in a segment all workers share them, and each claims one."""

    def __init__(self, memory: memoryview, segment: Segment | None, region: str) -> None:
        self._memory = memory
        self._segment = segment
        self._region = region
        self._mine: Block | None = None

    def claim(self) -> Block:
        """This worker's block, the same at each call."""
        if self._mine is None:
            self._mine = self._claim()
        return self._mine

    def totals(self) -> Totals:
        """The totals of all blocks that were ever used."""
        totals = Totals()
        for index in self._usable():
            living = self._segment is None or (
                index != SHARED_BLOCK and self._segment.claimed(index)
            )
            totals.add(self._block(index), living)
        return totals

    def _claim(self) -> Block:
        if self._segment is None:
            return self._block(SHARED_BLOCK, alone=True)
        for index in range(1, len(self._memory) // BLOCK_SIZE):
            try:
                self._segment.grow(self._region, (index + 1) * BLOCK_SIZE)
            except SegmentFull:
                break
            if self._segment.claim(index):
                block = self._block(index, alone=True)
                block.take_over()
                return block
        return self._block(SHARED_BLOCK)

    def _usable(self) -> Iterator[int]:
        if self._segment is None:
            yield SHARED_BLOCK
            return
        yield from range(self._segment.backed(self._region) // BLOCK_SIZE)

    def _block(self, index: int, *, alone: bool = False) -> Block:
        memory = self._memory[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        return Block(memory, alone=alone)
