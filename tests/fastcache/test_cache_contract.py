"""The contract of a cache, which the classes of cachetools and fastcache both obey."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, MutableMapping
from typing import Any

import cachetools
import pytest

from tests.support.fastcache.cache_kinds import KINDS, Kind


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def filled(kind: Kind, maxsize: int, count: int) -> Any:
    """A cache of {1: 10, 2: 20, ...}."""
    cache = kind.make(maxsize)
    for number in range(1, count + 1):
        cache[number] = number * 10
    return cache


def drain(cache: Any) -> list[Any]:
    """The keys, least recently used first; empties the cache."""
    return [cache.popitem()[0] for _ in range(len(cache))]


# ---- limits


def test_empty(kind: Kind) -> None:
    cache = kind.make(3)
    assert cache.maxsize == 3
    assert cache.currsize == 0
    assert len(cache) == 0
    assert not cache
    assert list(cache) == []
    assert cache.getsizeof("anything") == 1


def test_negative_maxsize(kind: Kind) -> None:
    with pytest.raises(ValueError, match="maxsize must be non-negative"):
        kind.make(-1)


def test_maxsize_zero_stores_nothing(kind: Kind) -> None:
    cache = kind.make(0)
    with pytest.raises(ValueError, match="value too large"):
        cache[1] = 1
    with pytest.raises(ValueError, match="value too large"):
        cache.setdefault(1, 1)
    assert len(cache) == 0


@pytest.mark.parametrize("maxsize", [math.inf, 2.5, 10**12])
def test_maxsize_may_be_any_number(kind: Kind, maxsize: float) -> None:
    cache = kind.make(maxsize)
    for number in range(50):
        cache[number] = number
    assert cache.maxsize == maxsize
    assert len(cache) == min(50, math.floor(min(maxsize, 1000)))


def test_bad_arguments(kind: Kind) -> None:
    with pytest.raises(TypeError):
        kind.make("3")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kind.base()


# ---- recency


def test_the_least_recently_used_item_is_evicted(kind: Kind) -> None:
    cache = filled(kind, 3, 3)
    assert cache[1] == 10
    cache[4] = 40
    assert set(cache) == {1, 3, 4}
    assert cache.get(3) == 30
    cache[5] = 50
    assert set(cache) == {3, 4, 5}


def test_storing_again_is_a_use(kind: Kind) -> None:
    cache = filled(kind, 3, 3)
    cache[1] = 11
    assert len(cache) == 3
    assert drain(cache) == [2, 3, 1]


def test_operations_that_do_not_count_as_a_use(kind: Kind) -> None:
    cache = filled(kind, 3, 3)
    assert 1 in cache
    assert next(iter(cache)) == 1
    assert list(cache.keys()) == [1, 2, 3]
    assert repr(cache)
    assert cache.get(9) is None
    assert drain(cache) == [1, 2, 3]


def test_setdefault_is_a_use(kind: Kind) -> None:
    cache = filled(kind, 3, 3)
    assert cache.setdefault(1, "no") == 10
    assert cache.setdefault(4, 40) == 40
    assert cache.setdefault(5) is None
    assert set(cache) == {1, 4, 5}


def test_popitem(kind: Kind) -> None:
    cache = filled(kind, 2, 2)
    assert cache.popitem() == (1, 10)
    assert cache.popitem() == (2, 20)
    with pytest.raises(KeyError, match=f"{kind.base.__name__} is empty") as caught:
        cache.popitem()
    assert caught.value.__suppress_context__


# ---- items


def test_lookup(kind: Kind) -> None:
    cache = filled(kind, 2, 2)
    assert cache[1] == 10
    assert cache.get(1) == 10
    assert cache.get(key=1, default=None) == 10
    assert cache.get(3) is None
    assert cache.get(3, "default") == "default"
    with pytest.raises(KeyError) as caught:
        cache[3]
    assert caught.value.args == (3,)


def test_equal_keys_are_the_same_key(kind: Kind) -> None:
    cache = kind.make(10)
    for key in ["text", "tëxt", "Ω", b"bytes", (1, "a"), 1, 2.5, None, frozenset({1})]:
        cache[key] = repr(key)
    equal = ["te" + "xt"[-2:], "".join("tëxt"), chr(0x3A9), bytes(bytearray(b"bytes"))]
    assert [cache[key] for key in equal] == ["'text'", "'tëxt'", "'Ω'", "b'bytes'"]
    assert cache[1.0] == cache[True] == "1"
    assert cache.get("Text") is None
    assert cache.get("texts") is None
    assert cache.get(b"bytez") is None
    assert cache.get("bytes") is None
    cache[1.0] = "again"
    assert [type(key) for key in cache if key == 1] == [int]


def test_delete(kind: Kind) -> None:
    cache = filled(kind, 3, 3)
    del cache[2]
    assert 2 not in cache
    assert cache.currsize == 2
    with pytest.raises(KeyError) as caught:
        del cache[2]
    assert caught.value.args == (2,)
    assert drain(cache) == [1, 3]


def test_pop(kind: Kind) -> None:
    cache = filled(kind, 2, 2)
    assert cache.pop(2) == 20
    assert 2 not in cache
    assert cache.pop(2, None) is None
    assert cache.pop(2, default="none") == "none"
    with pytest.raises(KeyError) as caught:
        cache.pop(2)
    assert caught.value.args == (2,)
    assert list(cache.items()) == [(1, 10)]


def test_update(kind: Kind) -> None:
    cache = kind.make(2)
    cache.update({1: 1, 2: 2})
    cache.update([(3, 3)], name="n")
    assert dict(cache) == {3: 3, "name": "n"}


def test_clear(kind: Kind) -> None:
    cache = filled(kind, 3, 3)
    cache.clear()
    assert len(cache) == cache.currsize == 0
    assert 1 not in cache
    cache.clear()
    cache.update({4: 4, 5: 5, 6: 6, 7: 7})
    assert drain(cache) == [5, 6, 7]


def test_unhashable_key(kind: Kind) -> None:
    cache = filled(kind, 2, 1)
    for use in (cache.__getitem__, cache.__contains__, cache.__delitem__, cache.get, cache.pop):
        with pytest.raises(TypeError, match="unhashable"):
            use([])
    for store in (cache.__setitem__, cache.setdefault):
        with pytest.raises(TypeError, match="unhashable"):
            store([], 1)
    assert list(cache) == [1]


# ---- sizes


def test_sizes_are_summed(kind: Kind) -> None:
    cache = kind.make(10, lambda value: value)
    assert cache.getsizeof(3) == 3
    cache.update({1: 1, 2: 2, 3: 3})
    assert cache.currsize == 6
    assert len(cache) == 3
    cache[4] = 5
    assert cache.currsize == 10
    assert list(cache) == [2, 3, 4]
    cache[4] = 0
    assert cache.currsize == 5
    del cache[3]
    assert cache.currsize == 2
    assert cache.pop(2) == 2
    assert cache.currsize == 0
    cache.clear()
    assert cache.currsize == 0


def test_one_large_value_evicts_many(kind: Kind) -> None:
    cache = kind.make(20, lambda value: value)
    for number in range(20):
        cache[number] = 1
    cache["large"] = 18
    assert list(cache) == [18, 19, "large"]
    cache["larger"] = 20
    assert list(cache) == ["larger"]


def test_a_value_that_grows_may_evict_its_own_item(kind: Kind) -> None:
    cache = kind.make(3, lambda value: value)
    cache.update({1: 1, 2: 1, 3: 1})
    cache[2] = 2
    assert dict(cache) == {2: 2, 3: 1}
    cache.clear()
    cache.update({1: 1, 2: 1, 3: 1})
    cache[1] = 3
    assert dict(cache) == {1: 3}
    assert cache.currsize == 3


def test_value_too_large_changes_nothing(kind: Kind) -> None:
    cache = kind.make(3, lambda value: value)
    cache.update({1: 1, 2: 2})
    for key in (1, 9):
        with pytest.raises(ValueError, match="value too large"):
            cache[key] = 4
    with pytest.raises(ValueError, match="value too large"):
        cache.setdefault(9, 4)
    assert dict(cache) == {1: 1, 2: 2}
    assert cache.currsize == 3


def test_negative_size(kind: Kind) -> None:
    cache = kind.make(3, lambda value: value)
    with pytest.raises(ValueError, match="value size must be non-negative"):
        cache[1] = -1
    assert len(cache) == 0


def test_fractional_sizes(kind: Kind) -> None:
    cache = kind.make(1, lambda value: value)
    cache.update({1: 0.5, 2: 0.25})
    assert cache.currsize == 0.75
    cache[3] = 0.5
    assert list(cache) == [2, 3]


def test_getsizeof_that_raises(kind: Kind) -> None:
    cache = kind.make(3, lambda value: len(value))
    with pytest.raises(TypeError):
        cache[1] = 5
    assert len(cache) == 0


# ---- mapping protocol


def test_is_a_mutable_mapping(kind: Kind) -> None:
    cache = filled(kind, 3, 2)
    assert isinstance(cache, MutableMapping)
    assert issubclass(kind.base, Mapping)
    match cache:
        case {1: value}:
            assert value == 10
        case _:
            pytest.fail("a cache must match as a mapping")


def test_cannot_be_reversed(kind: Kind) -> None:
    with pytest.raises(TypeError):
        reversed(filled(kind, 3, 2))


def test_views(kind: Kind) -> None:
    cache = filled(kind, 3, 2)
    assert list(cache.keys()) == [1, 2]
    assert list(cache.values()) == [10, 20]
    assert list(cache.items()) == [(1, 10), (2, 20)]
    assert cache.keys() & {1, 5} == {1}
    assert (1, 10) in cache.items()
    assert 20 in cache.values()
    assert len(cache.values()) == 2


def test_equality(kind: Kind) -> None:
    assert filled(kind, 3, 2) == filled(kind, 9, 2) == {1: 10, 2: 20}
    assert filled(kind, 3, 2) != filled(kind, 3, 3)
    assert filled(kind, 3, 2) != [1, 2]
    with pytest.raises(TypeError, match="unhashable"):
        hash(kind.make(1))


def test_repr(kind: Kind) -> None:
    cache = filled(kind, 3, 2)
    name = kind.base.__name__
    assert repr(cache) == f"{name}({{1: 10, 2: 20}}, maxsize=3, currsize=2)"
    cache[1] = cache
    assert repr(cache).count("...") == 1


def test_weak_reference_and_subscription(kind: Kind) -> None:
    cache = kind.make(1)
    reference = weakref.ref(cache)
    assert reference() is cache
    del cache
    assert reference() is None
    assert kind.base[str, int].__origin__ is kind.base


def test_under_cachetools_decorators(kind: Kind) -> None:
    calls: list[int] = []

    @cachetools.cached(kind.make(2), info=True)
    def double(number: int) -> int:
        calls.append(number)
        return number * 2

    assert [double(n) for n in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert calls == [1, 2, 3, 2]
    assert double.cache_info()[:2] == (2, 4)
    assert double.cache_info().currsize == 2
    double.cache_clear()
    assert double.cache_info()[:2] == (0, 0)
    assert len(double.cache) == 0

    class Owner:
        def __init__(self) -> None:
            self.cache = kind.make(2)

        @cachetools.cachedmethod(lambda self: self.cache)
        def double(self, number: int) -> int:
            calls.append(number)
            return number * 2

    owner = Owner()
    assert owner.double(8) == owner.double(8) == 16
    assert calls.count(8) == 1
