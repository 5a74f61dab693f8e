"""Keys like the lookup keys of the service, newly created each time, and their order of lookup."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from itertools import accumulate

from benchmarks.micro.cases import HOT_KEYS, ZIPF_EXPONENT, Case

KEY_LENGTH = 27

_ODD = 0x9E3779B97F4A7C15F39CC1
_MASK = (1 << 88) - 1
_PRIME = 2_654_435_761
_LARGEST_POOL = 1 << 20


def make_key(index: int) -> str:
    """The key of an index, a new object at each call: ``live_`` and 22 digits, all distinct."""
    return f"live_{index * _ODD & _MASK:022x}"


def make_value(index: int) -> int:
    """A distinct value for each index: an integer too large to be shared by CPython."""
    return index + (1 << 40)


class Draws:
    """An endless stream of indices for the lookups of a case.

    They are drawn before the measurement, and returned in slices from random positions. An index of
    `entries` or more is a key that the cache does not contain.
    """

    def __init__(self, case: Case, rng: random.Random, longest: int, slices: int = 1) -> None:
        """`longest` is the length of the longest slice, `slices` roughly their number.

        With fewer draws, the same rare keys would be looked up repeatedly and be in the CPU caches.
        """
        self._rng = rng
        size = max(min(slices * longest, _LARGEST_POOL), 2 * longest)
        ranks: Sequence[int]
        if case.pattern == "hot":
            ranks = rng.choices(range(min(HOT_KEYS, case.entries)), k=size)
        else:
            weights = array("d", accumulate(rank**-ZIPF_EXPONENT for rank in _ranks(case.entries)))
            ranks = rng.choices(range(case.entries), cum_weights=weights, k=size)
        # Popular keys are scattered over the order of insertion. A prime reaches every index once.
        self._pool = array("q", (rank * _PRIME % case.entries for rank in ranks))
        if case.hit_percent < 100:
            share = case.hit_percent / 100
            for place in range(size):
                if rng.random() >= share:
                    self._pool[place] += case.entries

    def take(self, count: int) -> Sequence[int]:
        """The next `count` indices."""
        start = self._rng.randrange(len(self._pool) - count)
        return self._pool[start : start + count]


def _ranks(entries: int) -> range:
    return range(1, entries + 1)
