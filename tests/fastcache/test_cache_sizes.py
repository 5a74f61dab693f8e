"""Sizes of any numeric type: their sums are exact, or the size is rejected."""

from __future__ import annotations

import copy
import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fastcache.cache_kinds import KINDS, Kind, pickled

UNIT = Fraction(1, 2**128)
"""Every size is a multiple of this unit."""
MOST = 2**127 - UNIT
"""The largest size, and the largest sum in one shard."""


def own(value: Any) -> Any:
    return value


# ---- rejected sizes

REFUSED: list[tuple[Any, str]] = [
    (-1, "size must be non-negative"),
    (-0.5, "size must be non-negative"),
    (-(2**80), "size must be non-negative"),
    (-math.inf, "size must be non-negative"),
    (Decimal("-0.1"), "size must be non-negative"),
    (math.nan, "size must be finite"),
    (math.inf, "size must be finite"),
    (Decimal("Infinity"), "size must be finite"),
    (Fraction(1, 3), r"size must be a multiple of 2\*\*-128"),
    (Decimal("0.1"), r"size must be a multiple of 2\*\*-128"),
    (Decimal("1e-999999"), r"size must be a multiple of 2\*\*-128"),
    (5e-324, r"size must be a multiple of 2\*\*-128"),
    (UNIT / 2, r"size must be a multiple of 2\*\*-128"),
    (10**18 + 1, "too large"),
    (2**127, "too large"),
    (2**128, "too large"),
    (10**400, "too large"),
    (1e300, "too large"),
    (Decimal("1e999999"), "too large"),
]


@pytest.mark.parametrize(("size", "words"), REFUSED, ids=lambda each: str(each)[:20])
def test_a_rejected_size_changes_nothing(kind: Kind, size: Any, words: str) -> None:
    cache = kind.make(10**18, own)
    cache.update(dict.fromkeys(range(5), 1))
    with pytest.raises(ValueError, match=f"value {words}"):
        cache["h"] = size
    with pytest.raises(ValueError, match=f"value {words}"):
        cache[0] = size
    with pytest.raises(ValueError, match=f"value {words}"):
        cache.setdefault("h", size)
    assert (cache.currsize, list(cache.items())) == (5, [(key, 1) for key in range(5)])


def test_without_a_limit_sizes_are_below_two_to_the_127(kind: Kind) -> None:
    cache = kind.make(math.inf, own)
    cache["most"] = 2**127 - 1
    assert cache.currsize == 2**127 - 1
    for size in (2**127, 1e300, Decimal("1e999999")):
        with pytest.raises(ValueError, match="value too large"):
            cache["more"] = size
    cache["one"] = 1
    assert dict(cache) == {"one": 1}


# ---- sums


def test_a_large_size_that_is_stored_and_removed(kind: Kind) -> None:
    cache = kind.make(10**18, own)
    cache["h"] = 10**17
    cache.update(dict.fromkeys(range(5), 1))
    assert cache.currsize == 10**17 + 5
    del cache["h"]
    assert cache.currsize == 5


@pytest.mark.parametrize("maxsize", [2**53 + 1, 10**18 + 1, 2**64 + 1, 2**100 + 1])
def test_a_whole_capacity_is_used_up_exactly(kind: Kind, maxsize: int) -> None:
    cache = kind.make(maxsize, own)
    cache.update({"large": maxsize - 2, "one": 1, "last": 1})
    assert (cache.currsize, len(cache)) == (maxsize, 3)
    cache["more"] = 1
    assert (cache.currsize, "large" in cache) == (3, False)
    with pytest.raises(ValueError, match="too large"):
        cache["more"] = maxsize + 1


@pytest.mark.parametrize(
    ("maxsize", "fits"),
    [(0.5, 0.5), (0.1, 0.1), (Fraction(1, 3), 0.333), (Decimal("0.7"), 0.6999), (UNIT, UNIT)],
)
def test_a_capacity_that_is_a_fraction(kind: Kind, maxsize: Any, fits: Any) -> None:
    cache = kind.make(maxsize, own)
    cache["a"] = fits
    assert cache.currsize == fits
    with pytest.raises(ValueError, match="too large"):
        cache["b"] = fits + 0.001
    cache["b"] = fits
    assert list(cache) == ["b"]


def test_sums_of_fractions_do_not_drift(kind: Kind) -> None:
    chance = random.Random(5)
    cache = kind.make(1e9, own)
    for _ in range(20_000):
        key = chance.randrange(50)
        if chance.random() < 0.5:
            cache[key] = chance.choice([0.1, 0.2, 1e6 / 3, 1e-9, 1e-20, Fraction(1, 4), 3])
        else:
            cache.pop(key, None)
    assert cache.currsize == math.fsum(cache.values())
    cache["last"] = 0.1
    for key in list(cache):
        if key != "last":
            del cache[key]
    assert cache.currsize == 0.1


def test_whole_sums_are_ints(kind: Kind) -> None:
    cache = kind.make(10, own)
    cache.update({1: 0.5, 2: 1.5, 3: True, 4: False, 5: Decimal(2), 6: Fraction(4, 2)})
    assert (repr(cache.currsize), len(cache)) == ("7", 6)
    del cache[1]
    assert repr(cache.currsize) == "6.5"


class Number:
    """A number that compares with others and has no `as_integer_ratio`."""

    def __init__(self, number: float) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return self.number == other

    def __lt__(self, other: float) -> bool:
        return self.number < other

    def __ge__(self, other: float) -> bool:
        return self.number >= other

    __hash__ = None  # type: ignore[assignment]


class Narrow(Number):
    """Like numpy's bool: it does not compare with ints beyond C's range."""

    def __ge__(self, other: float) -> bool:
        if isinstance(other, int) and other > 2**63:
            raise OverflowError
        return self.number >= other

    def __float__(self) -> float:
        return float(self.number)


class Whole(Number):
    def __index__(self) -> int:
        return int(self.number)


class Real(Number):
    def __float__(self) -> float:
        return float(self.number)


def test_numbers_of_other_types(kind: Kind) -> None:
    cache = kind.make(2**80, own)
    cache["whole"] = Whole(2**70 + 1)
    cache["real"] = Real(2**60)
    cache["narrow"] = Narrow(1)
    assert cache.currsize == 2**70 + 1 + 2**60 + 1
    with pytest.raises(ValueError, match="not exact"):
        cache["more"] = Real(2**60 + 1)
    with pytest.raises(TypeError):
        cache["more"] = Number(5)
    assert len(cache) == 3


def test_sizes_are_copied_and_pickled_exactly(kind: Kind) -> None:
    sizes = {1: 2**70 + 1, 2: 0.1, 3: Fraction(2**80 + 1, 4), 4: UNIT, 5: 3}
    cache = kind.base(2**100, 5, getsizeof=own) if kind.timed else kind.base(2**100, own)
    cache.update(sizes)
    for again in (copy.copy(cache), copy.deepcopy(cache), pickled(cache)):
        assert again.currsize == cache.currsize
        for key in (1, 3, 5, 2):
            del again[key]
        assert again.currsize == UNIT


def test_shards_have_exact_sums_too(kind: Kind) -> None:
    maxsize = 4 * (2**70 + 1)
    ttl = {"ttl": 5} if kind.timed else {}
    cache = kind.base(maxsize, getsizeof=own, shards=4, **ttl)
    cache["key"] = 2**70 + 1
    assert cache.currsize == 2**70 + 1
    with pytest.raises(ValueError, match="too large"):
        cache["key"] = 2**70 + 2
    cache.update(dict.fromkeys(range(100), 0.5))
    assert 0 < cache.currsize <= maxsize


# ---- cachetools as the model

FLOATS = st.one_of(
    st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e30), st.sampled_from([0.1, 0.2, 1e-9, 0.0])
)
EXACT = st.one_of(
    st.integers(0, 5),
    st.integers(0, 2**70),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**70]),
    st.booleans(),
    FLOATS,
    FLOATS.map(Fraction),
    FLOATS.map(Decimal),
    st.fractions(0, 10, max_denominator=12),
    st.decimals(0, 10, places=2),
)
ANY = st.one_of(
    EXACT, st.floats(), st.integers(), st.decimals(allow_nan=False, allow_infinity=False)
)


def summable(size: Any) -> bool:
    """Whether sums can hold a size. Sizes beyond every capacity are refused as too large."""
    return not math.isnan(size) and 0 <= size < math.inf and Fraction(size) % UNIT == 0


def exact(size: Any) -> Any:
    return Fraction(size)


@pytest.mark.parametrize("timed", [False, True])
def test_any_sizes_sum_as_fractions_in_cachetools(timed: bool, long: bool) -> None:
    """The model's sizes are Fractions, which cachetools adds without rounding."""
    model_kind, fast_kind = KINDS[2 * timed], KINDS[2 * timed + 1]

    @settings(max_examples=5000 if long else 400, deadline=None)
    @given(
        maxsize=st.one_of(st.just(math.inf), EXACT),
        calls=st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), ANY)), max_size=25),
    )
    def same(maxsize: Any, calls: list[tuple[int, Any]]) -> None:
        limit: Any = MOST if maxsize == math.inf else Fraction(maxsize)
        model = model_kind.make(limit, exact)
        fast = fast_kind.make(maxsize, own)
        for key, size in calls:
            if size is None:
                assert fast.pop(key, None) == model.pop(key, None)
            elif not summable(size) or Fraction(size) > limit:
                with pytest.raises(ValueError, match=r"value (too large|size must be)"):
                    fast[key] = size
            else:
                fast[key] = model[key] = size
            assert dict(fast.items()) == dict(copy.copy(model).items())
            total = Fraction(model.currsize)
            assert fast.currsize == (int(total) if total.denominator == 1 else float(total))
        drained = [fast.popitem() for _ in range(len(fast))]
        assert drained == [model.popitem() for _ in range(len(model))]
        assert fast.currsize == 0

    same()


@pytest.mark.parametrize("timed", [False, True])
def test_whole_sizes_sum_as_in_cachetools(timed: bool) -> None:
    @settings(max_examples=200, deadline=None)
    @given(
        maxsize=st.integers(0, 2**71),
        sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**70)), max_size=20),
    )
    def same(maxsize: int, sizes: list[tuple[int, int]]) -> None:
        model, fast = (each.make(maxsize, own) for each in KINDS[2 * timed : 2 * timed + 2])
        for key, size in sizes:
            for cache in (model, fast):
                if size <= maxsize:
                    cache[key] = size
                else:
                    with pytest.raises(ValueError, match="too large"):
                        cache[key] = size
            assert fast.currsize == model.currsize
            assert dict(fast.items()) == dict(copy.copy(model).items())

    same()
