"""Overrides while other threads remove items, and overrides that remove items themselves."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fastcache.cache_kinds import KINDS, Kind
from tests.support.fastcache.callers import elsewhere

Call = Callable[[Any], Any]


def interrupted(kind: Kind, method: str, between: Callable[..., object], maxsize: int = 2) -> Any:
    """A full cache that runs `between` before the first call of an overridden method."""

    def hook(cache: Any, *args: Any) -> Any:
        if armed:
            armed.pop()
            between(cache, *args)
        return getattr(kind.base, method)(cache, *args)

    armed = [True]
    subclass = type("Interrupted", (kind.base,), {method: hook})
    cache = kind.make(maxsize, subclass=subclass)
    for key in range(maxsize):
        kind.base.__setitem__(cache, key, str(key))
    return cache


def remove(kind: Kind) -> Callable[[Any, int], object]:
    """A function that removes an override's key in another thread before the override runs."""
    return lambda cache, key: elsewhere(lambda: kind.base.__delitem__(cache, key))


# ---- another thread removes the item


def test_the_item_to_evict_is_removed_meanwhile(kind: Kind) -> None:
    cache = interrupted(kind, "__delitem__", remove(kind))
    cache["new"] = 1
    assert dict(cache.items()) == {1: "1", "new": 1}
    assert cache.stats().evictions == 0
    cache = interrupted(kind, "__delitem__", lambda cache, key: elsewhere(cache.clear))
    cache["new"] = 1
    assert dict(cache.items()) == {"new": 1}


def test_the_item_to_pop_is_removed_meanwhile(kind: Kind) -> None:
    cache = interrupted(kind, "__delitem__", remove(kind))
    assert cache.popitem() == (1, "1")
    cache = interrupted(kind, "__delitem__", lambda cache, key: elsewhere(cache.clear))
    with pytest.raises(KeyError, match="is empty"):
        cache.popitem()
    cache = interrupted(kind, "__delitem__", remove(kind))
    assert cache.pop(0, "none") == "none"
    cache = interrupted(kind, "__delitem__", remove(kind))
    with pytest.raises(KeyError, match=r"^0$"):
        cache.pop(0)
    cache = interrupted(kind, "__delitem__", remove(kind))
    with pytest.raises(KeyError, match=r"^0$"):
        del cache[0]


def test_an_overridden_popitem_finds_an_empty_cache(kind: Kind) -> None:
    cache = interrupted(kind, "popitem", lambda cache: elsewhere(cache.clear))
    cache["new"] = 1
    assert dict(cache.items()) == {"new": 1}


def test_an_overridden_popitem_that_chooses_its_item(kind: Kind) -> None:
    class Youngest(kind.base):  # type: ignore[misc, name-defined]
        def popitem(self) -> Any:
            key = list(self)[-1]
            if armed:
                armed.pop()
                elsewhere(lambda: self.pop(key))
            return key, self.pop(key)

    armed = [True]
    cache = kind.make(2, subclass=Youngest)
    cache.update({1: 1, 2: 2, 3: 3})
    assert dict(cache.items()) == {1: 1, 3: 3}
    cache[4] = 4
    assert dict(cache.items()) == {1: 1, 4: 4}


def test_an_overridden_getitem_finds_its_key_removed(kind: Kind) -> None:
    calls: list[Call] = [lambda cache: cache.get(0, "none"), lambda cache: cache.pop(0, "none")]
    for call in calls:
        cache = interrupted(kind, "__getitem__", remove(kind))
        assert call(cache) == "none"
        assert list(cache) == [1]
    cache = interrupted(kind, "__getitem__", remove(kind))
    assert list(cache.items()) == [(1, "1")]
    cache = interrupted(kind, "__getitem__", remove(kind))
    assert cache.setdefault(0, "new") == "new"
    assert cache.get_many([0, 1]) == {0: "new", 1: "1"}


def removed_after_contains(
    kind: Kind, armed: list[bool], then: Callable[[], object] = lambda: None
) -> type[Any]:
    """A subclass whose armed `__contains__` has another thread remove the key that it found."""

    class Late(kind.base):  # type: ignore[misc, name-defined]
        def __contains__(self, key: Any) -> bool:
            found = bool(super().__contains__(key))
            if armed:
                armed.pop()
                elsewhere(lambda: kind.base.__delitem__(self, key))
                then()
            return found

    return Late


def test_a_key_is_removed_between_contains_and_getitem(kind: Kind) -> None:
    armed: list[bool] = []
    late = removed_after_contains(kind, armed)
    calls: list[Call] = [lambda cache: cache.get(1, "none"), lambda cache: cache.pop(1, "none")]
    calls += [
        lambda cache: cache.setdefault(1, "none"),
        lambda cache: cache.get_many([1]) or "none",
    ]
    for call in calls:
        cache = kind.make(2, subclass=late)
        cache[1] = "one"
        armed.append(True)
        assert call(cache) == "none"


def test_a_collected_cache_does_not_count_as_a_removal_by_this_thread(kind: Kind) -> None:
    other: list[Any] = []

    def free_caches() -> None:
        gc.collect()
        other.clear()  # the reference to a cache outside any cycle

    armed = [True]
    late = removed_after_contains(kind, armed, free_caches)
    cache = kind.make(2, subclass=late)
    cyclic, last = kind.make(2, subclass=late), kind.make(2, subclass=late)
    cache[1] = last[1] = "one"
    cyclic[1] = cyclic
    other.append(last)
    del cyclic, last
    assert cache.get(1, "none") == "none"


def test_a_key_is_removed_after_iter_returned_it(kind: Kind) -> None:
    class Late(kind.base):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Any:
            for key in super().__iter__():
                if key == 2:
                    elsewhere(lambda: kind.base.__delitem__(self, 2))
                yield key

    cache = kind.make(3, subclass=Late)
    cache.update({1: 1, 2: 2, 3: 3})
    assert list(cache.items()) == [(1, 1), (3, 3)]


def test_a_value_is_popped_by_the_thread_that_removes_it(kind: Kind) -> None:
    """`pop` returns an item to one thread, even if `__getitem__` is overridden."""

    class Slow(kind.base):  # type: ignore[misc, name-defined]
        def __getitem__(self, key: Any) -> Any:
            found = super().__getitem__(key)
            if armed:
                armed.pop()
                elsewhere(lambda: taken.append(self.pop(key)))
            return found

    armed = [True]
    taken: list[Any] = []
    cache = kind.make(2, subclass=Slow)
    cache[1] = "one"
    assert cache.pop(1, "none") == "none"
    assert taken == ["one"]


# ---- the override itself removes the item, or raises a KeyError


@pytest.mark.parametrize("each", KINDS, ids=str)
@pytest.mark.parametrize("method", ["__delitem__", "popitem"])
def test_a_key_error_that_an_override_raises_reaches_the_caller(each: Kind, method: str) -> None:
    def fail(cache: Any, *args: Any) -> None:
        raise KeyError("mine")

    calls: list[Call] = [lambda cache: cache.__setitem__("new", 1), lambda cache: cache.popitem()]
    for call in calls:
        cache = interrupted(each, method, fail)
        with pytest.raises(KeyError, match="mine"):
            call(cache)
        assert list(cache) == [0, 1]


@pytest.mark.parametrize("each", KINDS, ids=str)
def test_a_key_that_the_override_removed_itself(each: Kind) -> None:
    """No other thread removed the key, so the KeyError is raised."""

    def own(cache: Any, key: int) -> None:
        each.base.__delitem__(cache, key)

    calls: list[Call] = [
        lambda cache: cache.__setitem__("new", 1),
        lambda cache: cache.popitem(),
        lambda cache: cache.pop(0, "none"),
    ]
    for call in calls:
        cache = interrupted(each, "__delitem__", own)
        with pytest.raises(KeyError, match=r"^0$"):
            call(cache)
        assert list(cache) == [1]


@pytest.mark.parametrize("each", KINDS, ids=str)
def test_deleting_a_missing_key_fails_a_store(each: Kind) -> None:
    class Wrong(each.base):  # type: ignore[misc, name-defined]
        def __delitem__(self, key: Any) -> None:
            super().__delitem__("another")

    cache = each.make(1, subclass=Wrong)
    cache["old"] = 1
    with pytest.raises(KeyError, match="another"):
        cache["new"] = 2
    assert dict(cache.items()) == {"old": 1}


def test_an_overridden_getitem_that_removes_its_key(kind: Kind) -> None:
    class Once(kind.base):  # type: ignore[misc, name-defined]
        def __getitem__(self, key: Any) -> Any:
            found = super().__getitem__(key)
            super().__delitem__(key)
            return found

    cache = kind.make(9, subclass=Once)
    calls: list[Callable[[], Any]] = [
        lambda: cache[1],
        lambda: cache.get(1, "none"),
        lambda: cache.pop(1, "none"),
        lambda: cache.pop(1),
        lambda: cache.setdefault(1, "new"),
        lambda: cache.get_many([1])[1],
    ]
    for call in calls:
        cache[1] = "one"
        assert call() == "one"
        assert list(cache) == []
    cache.update({1: 1, 2: 2})
    assert list(cache.items()) == [(1, 1), (2, 2)]
    assert list(cache) == []
    assert cache.get(1, "none") == cache.pop(1, "none") == "none"


# ---- many threads


@pytest.mark.parametrize("methods", [["__delitem__"], ["popitem"], ["__getitem__", "__delitem__"]])
def test_threads_store_and_remove(kind: Kind, methods: list[str], long: bool) -> None:
    def hook(method: str) -> Callable[..., Any]:
        original = getattr(kind.base, method)
        return lambda cache, *args: original(cache, *args)

    subclass = type("Hooked", (kind.base,), {name: hook(name) for name in methods})
    cache = kind.make(4, subclass=subclass)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for number in range(20_000 if long else 3_000):
                key = chance.randrange(8)
                cache[key] = (seed, number)
                cache.pop(chance.randrange(8), None)
                if number % 5 == 0 and len(cache) > 2:
                    try:
                        cache.popitem()
                    except KeyError as error:
                        if "is empty" not in str(error):
                            raise
                if number % 50 == 0:
                    cache.clear()
        except BaseException as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cache) <= 4
