"""Processes that take from the same rates, and the exact check of all that was admitted."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastcache.shared import Rate, RateTable
from tests.support.fastcache.children import Child

_COUNT = struct.Struct("=Q")


class Admission(NamedTuple):
    """Units that one rate admitted, and the clock reading that decided."""

    at: int
    units: int


def assert_exact(admitted: Iterable[Admission], rate: Rate) -> None:
    """No interval of the history has more than ``burst + elapsed // interval`` units.

    It is enough to compare each admission with the smallest earlier value of ``units before -
    elapsed``. All figures are integers, in nanoseconds.
    """
    spent = 0
    lowest: int | None = None
    for at, units in sorted(admitted):
        # An interval that begins here has all units from here on.
        here = spent * rate.interval - at
        lowest = here if lowest is None else min(lowest, here)
        spent += units
        assert spent * rate.interval - at - lowest <= rate.burst * rate.interval


class Takers:
    """Processes that take from rates in random combinations and with random costs.

    Each writes its admissions into shared memory. ``stops`` is the chance that a process stops
    itself, like by SIGSTOP, between a clock reading and the exchange that follows.
    """

    def __init__(
        self,
        rates: Sequence[Rate],
        combinations: Sequence[tuple[int, ...]],
        costs: Sequence[int],
        *,
        stops: float = 0.0,
        processes: int = 8,
        room: int = 100_000,
    ) -> None:
        self.rates = list(rates)
        self.combinations = list(combinations)
        self._costs = list(costs)
        self._stops = stops
        # The number of the combination, the cost, and the reading of each of its rates.
        self._record = struct.Struct(f"=QQ{len(self.rates)}Q")
        self._words = mmap.mmap(-1, mmap.PAGESIZE)
        self._records = [
            mmap.mmap(-1, _COUNT.size + room * self._record.size) for _ in range(processes)
        ]
        self._refusals = mmap.mmap(-1, processes * _COUNT.size)
        self._children: list[Child | None] = [None] * processes
        self._seeds = iter(range(1_000_000))

    @property
    def processes(self) -> int:
        """The number of processes."""
        return len(self._children)

    def table(self, **options: object) -> RateTable:
        """The table of all processes, in their memory."""
        return RateTable(len(self.rates), memory=self._words, **options)  # type: ignore[arg-type]

    def start(self, number: int, until: float | None = None) -> None:
        """Start a process, which continues the records of its predecessor.

        With ``until``, a time of CLOCK_MONOTONIC, it ends at its first refusal after that.
        """
        seed = next(self._seeds)
        self._children[number] = Child(lambda: self._take(number, random.Random(seed), until))

    def kill(self, number: int) -> None:
        """Kill a process; its records stay."""
        child = self._children[number]
        if child is not None:
            child.kill()

    def send(self, number: int, kind: signal.Signals) -> None:
        """Send a signal to a process."""
        child = self._children[number]
        assert child is not None
        os.kill(child.pid, kind)

    def wait(self) -> None:
        """Wait until all processes have ended by themselves."""
        for child in self._children:
            assert child is not None
            assert child.wait() == 0

    def close(self) -> None:
        """Kill all processes."""
        for number in range(self.processes):
            self.kill(number)

    def __enter__(self) -> Takers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def admitted(self) -> list[list[Admission]]:
        """The recorded admissions of each rate.

        The reading that decided is known for the last rate of a combination. For the others it is
        known unless an exchange was repeated; these admissions are left out there.
        """
        found: list[list[Admission]] = [[] for _ in self.rates]
        for records in self._records:
            (count,) = _COUNT.unpack_from(records)
            for i in range(count):
                number, cost, *readings = self._record.unpack_from(
                    records, _COUNT.size + i * self._record.size
                )
                for rate, at in zip(self.combinations[number], readings, strict=False):
                    if at:
                        found[rate].append(Admission(at, cost))
        return found

    def count(self) -> int:
        """How many takings were admitted."""
        return sum(_COUNT.unpack_from(records)[0] for records in self._records)

    def refusals(self) -> list[int]:
        """The clock reading of the refusal at which each process ended."""
        return [
            _COUNT.unpack_from(self._refusals, number * _COUNT.size)[0]
            for number in range(self.processes)
        ]

    def _take(self, number: int, chance: random.Random, until: float | None) -> None:
        readings: list[int] = []

        def timer() -> int:
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            readings.append(now)
            if chance.random() < self._stops:
                os.kill(os.getpid(), signal.SIGSTOP)
            return now

        table = self.table(timer=timer)
        records = self._records[number]
        (count,) = _COUNT.unpack_from(records)
        end = (len(records) - _COUNT.size) // self._record.size
        while count < end:
            combination = chance.randrange(len(self.combinations))
            chosen = self.combinations[combination]
            cost = chance.choice(self._costs)
            readings.clear()
            taken = table.take(tuple(self.rates[i] for i in chosen), cost)
            if taken.refused_by is not None:
                if until is not None and time.monotonic() > until:
                    _COUNT.pack_into(self._refusals, number * _COUNT.size, taken.at)
                    return
                time.sleep(chance.random() * 0.002)
                continue
            # Several rates are asked before they are taken from, by one reading more.
            once = len(readings) == (len(chosen) + 1 if len(chosen) > 1 else 1)
            known = readings[-len(chosen) :] if once else [0] * (len(chosen) - 1) + [taken.at]
            known += [0] * (len(self.rates) - len(chosen))
            # A kill in between loses the record of an admission, never invents one.
            place = _COUNT.size + count * self._record.size
            self._record.pack_into(records, place, combination, cost, *known)
            count += 1
            _COUNT.pack_into(records, 0, count)
        while True:
            signal.pause()
