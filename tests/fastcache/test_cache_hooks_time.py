"""Hooks and views of caches whose time advances while a method runs, compared with cachetools."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from fastcache import TTLCache
from tests.support.fastcache.cache_kinds import FAST_KINDS, TIMED_KINDS, Kind
from tests.support.fastcache.fake_clock import Clock


@pytest.fixture(params=TIMED_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def slow(kind: Kind, method: str, clock: Clock) -> Any:
    """A subclass in which time passes within one method, before and after the original method."""

    def hook(self: Any, *args: Any) -> Any:
        clock.tick(2)
        try:
            return getattr(kind.base, method)(self, *args)
        finally:
            clock.tick(2)

    return type("Slow", (kind.base,), {method: hook})


HOOKS = ["__getitem__", "__setitem__", "__delitem__", "__contains__", "__missing__", "popitem"]


CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda cache: cache.get(1, "none"),
    "pop": lambda cache: cache.pop(1, "none"),
    "setdefault": lambda cache: cache.setdefault(1, "new"),
    "popitem": lambda cache: cache.popitem(),
    "items": lambda cache: list(cache.items()),
    "values": lambda cache: list(cache.values()),
    "in values": lambda cache: "one" in cache.values(),
    "in items": lambda cache: (1, "one") in cache.items(),
    "len": lambda cache: len(cache),
    "update": lambda cache: cache.update({2: 2, 3: 3, 4: 4}),
}


def answer(kind: Kind, method: str, call: str) -> Any:
    clock = Clock()
    cache = kind.make(2, ttl=1, clock=clock, subclass=slow(kind, method, clock))
    kind.base.__setitem__(cache, 1, "one")
    try:
        return CALLS[call](cache)
    except KeyError:
        return KeyError


@pytest.mark.parametrize("method", [*HOOKS, "expire"])
@pytest.mark.parametrize("call", CALLS)
def test_a_method_uses_one_time(method: str, call: str) -> None:
    model, fast = (answer(kind, method, call) for kind in TIMED_KINDS)
    assert fast == model


def test_an_item_may_expire_while_it_is_evicted(kind: Kind) -> None:
    clock = Clock()
    cache = kind.make(1, ttl=1, clock=clock, subclass=slow(kind, "__delitem__", clock))
    cache["old"] = 1
    cache["new"] = 2
    clock.time = 0.0
    assert list(cache) == ["new"]


def test_views_of_items_that_expire_meanwhile(kind: Kind) -> None:
    for view in ("keys", "values", "items"):
        cache: Any = kind.base(3, 2.5, itertools.count().__next__)
        cache[1] = 1
        cache[2] = 2
        assert (99, 99) not in getattr(cache, view)()


@pytest.mark.parametrize("ttl", [0, -1, 1e-320, -float("inf")])
def test_an_item_that_expires_at_once_evicts_nothing(ttl: float) -> None:
    cache: TTLCache[Any, Any] = TTLCache(2, 10, Clock(1.0))
    cache.update({1: 1, 2: 2})
    cache.set(3, 3, ttl=ttl)
    assert list(cache.items()) == [(1, 1), (2, 2)]
    assert cache.stats().evictions == 0
    cache.set(1, "other", ttl=ttl)
    assert list(cache.items()) == [(2, 2)]


def test_an_item_that_expires_at_once_evicts_nothing_with_hooks() -> None:
    class Hooked(TTLCache[Any, Any]):
        def popitem(self) -> Any:
            return super().popitem()

    cache = Hooked(2, 10, Clock(1.0))
    cache.update({1: 1, 2: 2})
    cache.set(3, 3, ttl=0)
    assert list(cache.items()) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("fast", FAST_KINDS, ids=str)
@pytest.mark.parametrize("call", ["get", "contains", "set", "pop", "setdefault", "delete"])
def test_changes_elsewhere_do_not_restart_a_lookup(fast: Kind, call: str) -> None:
    compared = []

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            compared.append(self)
            cache["x"] = 1
            del cache["x"]
            return self is other

    cache = fast.make(10)
    for _ in range(3):
        cache[Key()] = 1
    compared.clear()
    key = Key()
    if call == "get":
        assert cache.get(key, "none") == "none"
    elif call == "contains":
        assert key not in cache
    elif call == "set":
        cache[key] = 2
    elif call == "pop":
        assert cache.pop(key, "none") == "none"
    elif call == "setdefault":
        assert cache.setdefault(key, "new") == "new"
    else:
        with pytest.raises(KeyError):
            del cache[key]
    # setdefault makes two lookups: before the size is measured and after.
    assert len(compared) <= 6


@pytest.mark.parametrize("fast", FAST_KINDS, ids=str)
def test_keys_added_endlessly_during_a_lookup(fast: Kind) -> None:
    class Key:
        def __hash__(self) -> int:
            return 1

    class Adding(Key):
        def __eq__(self, other: object) -> bool:
            other = held.pop()
            del cache[other]
            cache[other] = 1
            held.append(other)
            return False

        __hash__ = Key.__hash__

    held: list[Any] = ["before"]
    cache = fast.make(10)
    cache[Adding()] = 1
    cache["before"] = 1
    assert cache.get(Key(), "none") == "none"


@pytest.mark.parametrize("fast", FAST_KINDS, ids=str)
def test_one_key_stored_endlessly_during_a_lookup(fast: Kind) -> None:
    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            del cache[self]
            cache[self] = 1
            return False

    cache = fast.make(10)
    key = Key()
    cache[key] = 1
    with pytest.raises(RuntimeError, match="added faster than"):
        cache.get(Key())
    assert cache[key] == 1
