"""Copying and pickling, by the contract of cachetools' and fastcache's classes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import cachetools
import pytest

import fastcache
from tests.support.fastcache.cache_kinds import KINDS, TIMED_KINDS, Kind, pickled
from tests.support.fastcache.fake_clock import Clock


def size_by_value(value: int) -> int:
    return value


class FastLRU(fastcache.LRUCache[Any, Any]):
    """A subclass with attributes; at module level, so that it can be pickled."""


class FastTTL(fastcache.TTLCache[Any, Any]):
    """A subclass with attributes."""


class PlainLRU(cachetools.LRUCache[Any, Any]):
    """A subclass with attributes."""


class PlainTTL(cachetools.TTLCache[Any, Any]):
    """A subclass with attributes."""


SUBCLASSES: dict[Any, Any] = {
    fastcache.LRUCache: FastLRU,
    fastcache.TTLCache: FastTTL,
    cachetools.LRUCache: PlainLRU,
    cachetools.TTLCache: PlainTTL,
}


class _Locked:
    """The state of a class with a lock: the lock is not copied."""

    lock: Any

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("lock", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore = getattr(super(), "__setstate__", self.__dict__.update)
        restore(state)
        self.lock = threading.Lock()


class LockedFastLRU(_Locked, fastcache.LRUCache[Any, Any]):
    """A subclass with a lock."""


class LockedFastTTL(_Locked, fastcache.TTLCache[Any, Any]):
    """A subclass with a lock."""


class LockedPlainLRU(_Locked, cachetools.LRUCache[Any, Any]):
    """A subclass with a lock."""


class LockedPlainTTL(_Locked, cachetools.TTLCache[Any, Any]):
    """A subclass with a lock."""


class SlottedFastLRU(fastcache.LRUCache[Any, Any]):
    """A subclass with a slot."""

    __slots__ = ("name",)


class SlottedFastTTL(fastcache.TTLCache[Any, Any]):
    """A subclass with a slot."""

    __slots__ = ("name",)


LOCKED: dict[Any, Any] = {
    fastcache.LRUCache: LockedFastLRU,
    fastcache.TTLCache: LockedFastTTL,
    cachetools.LRUCache: LockedPlainLRU,
    cachetools.TTLCache: LockedPlainTTL,
}

SLOTTED: dict[Any, Any] = {
    fastcache.LRUCache: SlottedFastLRU,
    fastcache.TTLCache: SlottedFastTTL,
    # These store their internals, and so the attribute, in a __dict__.
    cachetools.LRUCache: PlainLRU,
    cachetools.TTLCache: PlainTTL,
}

WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": partial(pickled, protocol=protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
def duplicate(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = request.param
    return found


def test_same_items_in_the_same_order_of_use(kind: Kind, duplicate: Callable[[Any], Any]) -> None:
    # Deadlines differ, because cachetools unpickles equal ones in another order.
    source = kind.make(4, ttl=1000, clock=Clock(step=0.01))
    source.update({1: 10, 2: 20, 3: 30, 4: 40})
    source.get(1)
    source.get(3)
    made = duplicate(source)
    assert type(made) is kind.base
    assert made.maxsize == 4
    assert list(made) == [1, 2, 3, 4]
    assert [made.popitem()[0] for _ in range(4)] == [2, 4, 1, 3]
    assert list(source) == [1, 2, 3, 4]


def test_sizes(kind: Kind, duplicate: Callable[[Any], Any]) -> None:
    source = kind.make(6, size_by_value)
    source.update({1: 1, 2: 2})
    made = duplicate(source)
    assert made.currsize == 3
    assert made.getsizeof is source.getsizeof
    made[3] = 4
    assert dict(made) == {2: 2, 3: 4}
    assert source.currsize == 3


def test_attributes(kind: Kind, duplicate: Callable[[Any], Any]) -> None:
    source = kind.make(3, subclass=SUBCLASSES[kind.base])
    source.name = "mine"
    source[1] = 1
    made = duplicate(source)
    assert type(made) is type(source)
    assert made.name == "mine"
    made.name = "other"
    assert source.name == "mine"
    assert dict(made) == {1: 1}


def test_an_empty_cache(kind: Kind, duplicate: Callable[[Any], Any]) -> None:
    made = duplicate(kind.make(0))
    assert (len(made), made.maxsize) == (0, 0)


@pytest.mark.parametrize("kind", TIMED_KINDS, ids=str)
def test_deadlines_are_kept(kind: Kind, duplicate: Callable[[Any], Any]) -> None:
    clock = Clock()
    source = kind.make(3, ttl=3, clock=clock)
    source[1] = 1
    clock.tick(2)
    source[2] = 2
    made = duplicate(source)
    assert made.ttl == 3
    made.timer.tick(1)
    assert dict(made) == {2: 2}
    made.timer.tick(2)
    assert len(made) == 0


@pytest.mark.parametrize("kind", TIMED_KINDS, ids=str)
def test_expired_items_are_not_unpickled(kind: Kind) -> None:
    clock = Clock()
    source = kind.make(3, ttl=3, clock=clock)
    source[1] = 1
    clock.tick(3)
    assert pickled(source).expire() == []


def test_a_cache_within_itself(kind: Kind) -> None:
    source = kind.make(3)
    source[1] = source
    made = pickled(source)
    assert made[1] is made
    deep = copy.deepcopy(source)
    assert deep[1] is deep


def test_native_timer_is_kept() -> None:
    source: fastcache.TTLCache[int, int] = fastcache.TTLCache(3, 3600)
    source[1] = 1
    made = pickled(source)
    assert dict(made) == {1: 1}
    assert made.ttl == 3600


def test_a_subclass_decides_what_is_copied(kind: Kind, duplicate: Callable[[Any], Any]) -> None:
    """With ``__getstate__`` and ``__setstate__``, which a class with a lock needs."""
    source = kind.make(3, subclass=LOCKED[kind.base])
    source.lock = threading.Lock()
    source[1] = 1
    made = duplicate(source)
    assert dict(made) == {1: 1}
    # copy.copy shares all attributes with the original.
    assert (made.lock is source.lock) == (duplicate is copy.copy)


def test_slots_of_a_subclass(kind: Kind) -> None:
    source = kind.make(3, subclass=SLOTTED[kind.base])
    source.name = ["mine"]
    source[1] = source.name
    for made in (pickled(source), copy.deepcopy(source)):
        assert made.name == ["mine"]
        assert made[1] is made.name


def test_invalid_state_is_rejected() -> None:
    cache: Any = fastcache.LRUCache(3)
    restore = cache.__reduce__()[5]
    states: list[Any] = [(), (None, (), [], []), (None, (-1, None, None, None, 1, False), [], [])]
    for state in states:
        with pytest.raises((ValueError, TypeError)):
            restore(cache, state)
    with pytest.raises(TypeError):
        restore(cache, None)
    with pytest.raises(TypeError):
        restore(None, cache.__reduce__()[2])


@pytest.mark.parametrize("size", [5, -1, float("nan")])
def test_state_whose_items_do_not_fit(size: float) -> None:
    """As after unpickling in another process with other string hashes and smaller shards."""
    cache: Any = fastcache.LRUCache(3)
    made = (4, lambda value: value, None, None, 1, False)
    restore = cache.__reduce__()[5]
    restore(cache, (None, made, [("no", "a", size, 0.0), ("yes", "b", 4, 9e9)], [0, 1]))
    assert dict(cache) == {"yes": "b"}
    assert cache.currsize == 4
