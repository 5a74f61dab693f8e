"""Sizes whose sums are beyond a double's whole numbers, or are fractions: exact, or refused."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.support.fastcache.cache_kinds import FAST_KINDS, Kind


@pytest.fixture(params=FAST_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.mark.parametrize(
    "size", [10**17, 2**53 + 1, 2**64, Fraction(1, 3), Decimal("0.1"), -1, math.nan, math.inf]
)
def test_a_size_that_is_not_exact_is_refused(kind: Kind, size: Any) -> None:
    cache = kind.make(10**18, lambda value: value)
    cache.update(dict.fromkeys(range(5), 1))
    with pytest.raises(ValueError, match=r"value (too large|size must be)"):
        cache["h"] = size
    assert cache.currsize == 5


@pytest.mark.parametrize("maxsize", [10**18, math.inf])
def test_sums_of_whole_sizes_are_exact(kind: Kind, maxsize: float) -> None:
    cache = kind.make(maxsize, lambda value: value)
    cache["h"] = 2**53 - 4
    cache.update(dict.fromkeys(range(3), 1))
    assert cache.currsize == 2**53 - 1
    cache[3] = 1
    assert (cache.currsize, "h" in cache) == (4, False)
    cache["i"] = 2**53 - 5
    assert cache.currsize == 2**53 - 1
    del cache["i"]
    assert cache.currsize == 4


def test_sums_of_fractions_do_not_drift(kind: Kind) -> None:
    chance = random.Random(5)
    cache = kind.make(1e9, lambda value: value)
    for _ in range(20_000):
        key = chance.randrange(50)
        if chance.random() < 0.5:
            cache[key] = chance.choice([0.1, 0.2, 1e6 / 3, 1e-9, Fraction(1, 4), 3])
        else:
            cache.pop(key, None)
        assert cache.currsize >= 0
    assert cache.currsize == math.fsum(cache.values())
    cache["last"] = 0.1
    for key in list(cache):
        if key != "last":
            del cache[key]
    assert cache.currsize == 0.1
