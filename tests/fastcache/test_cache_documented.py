"""What docs/fastcache.md says of differences from cachetools, one test for a sentence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import cachetools
import pytest

import fastcache
from tests.support.fastcache.fake_clock import Clock

Made = Callable[[], Any]

CACHES: list[Made] = [
    lambda: fastcache.LRUCache(3),
    lambda: fastcache.TTLCache(3, 100.0),
]

READINGS: dict[str, Callable[[Any], object]] = {
    "items": lambda cache: list(cache.items()),
    "in items": lambda cache: (1, 1) in cache.items(),
    "values": lambda cache: list(cache.values()),
    "in values": lambda cache: 1 in cache.values(),
    "repr": repr,
    "equality": lambda cache: cache == {1: 1},
    "keys": lambda cache: 1 in cache and list(cache.keys()),
}
USES: dict[str, Callable[[Any], object]] = {
    "subscription": lambda cache: cache[1],
    "get": lambda cache: cache.get(1),
    "setdefault": lambda cache: cache.setdefault(1, 0),
}


def evicted(cache: Any, look: Callable[[Any], object]) -> int:
    cache.update({1: 1, 2: 2, 3: 3})
    assert look(cache)
    cache[4] = 4
    (gone,) = {1, 2, 3} - set(cache)
    return int(gone)


@pytest.mark.parametrize("make", CACHES)
@pytest.mark.parametrize("name", READINGS)
def test_reading_is_no_use(make: Made, name: str) -> None:
    look = READINGS[name]
    assert evicted(make(), lambda cache: look(cache) is not None) == 1


@pytest.mark.parametrize("make", CACHES)
@pytest.mark.parametrize("name", USES)
def test_only_these_are_uses(make: Made, name: str) -> None:
    assert evicted(make(), USES[name]) == 2


@pytest.mark.parametrize("make", CACHES)
def test_iteration_continues_while_the_cache_changes(make: Made) -> None:
    """Removed items are left out; those that were added may be there or not."""
    cache = make()
    cache.update({1: 1, 2: 2})
    keys = iter(cache)
    assert next(keys) == 1
    del cache[2]
    cache[3] = 3
    assert set(keys) <= {3}


def test_items_of_a_second_or_more_expire_a_little_early_and_never_late() -> None:
    """With a timer of one's own, and with a TTL of their own, exactly."""
    clock = Clock()
    cache: Any = fastcache.TTLCache(3, 5.0, clock)
    cache[1] = 1
    cache.set(2, 2, ttl=2.0)
    clock.tick(2.0)
    assert (cache.get(1), cache.get(2)) == (1, None)
    clock.tick(3.0)
    assert cache.get(1) is None


def test_the_timer_stops_for_all_threads() -> None:
    clock = Clock()
    cache: Any = fastcache.TTLCache(3, 5.0, clock)
    cache[1] = 1
    seen: list[object] = []
    with cache.timer:
        clock.tick(10.0)
        thread = threading.Thread(target=lambda: seen.append(cache.get(1)))
        thread.start()
        thread.join()
    assert seen == [1]
    assert cache.get(1) is None


@pytest.mark.parametrize("make", CACHES)
def test_instances_accept_no_attributes_and_those_of_a_subclass_do(make: Made) -> None:
    with pytest.raises(AttributeError):
        make().further = 1

    class Own(fastcache.LRUCache[int, int]):
        pass

    own: Any = Own(3)
    own.further = 1
    assert own.further == 1


@pytest.mark.parametrize("name", ["popitem", "__delitem__"])
def test_who_sees_evictions_needs_one_shard(name: str) -> None:
    kept = getattr(fastcache.LRUCache, name)
    sees = type("Sees", (fastcache.LRUCache,), {name: lambda *given: kept(*given)})
    with pytest.raises(TypeError, match="shards=1"):
        sees(1000, shards=4)
    assert sees(1000, shards=1).maxsize == 1000


def test_an_override_that_removes_its_key_gives_the_value() -> None:
    class Once(fastcache.LRUCache[int, str]):
        def __getitem__(self, key: int) -> str:
            value = super().__getitem__(key)
            super().__delitem__(key)
            return value

    for look in (Once.get, Once.pop):
        cache = Once(3)
        cache[1] = "one"
        assert look(cache, 1) == "one"
        assert len(cache) == 0


def test_cachetools_shows_maxsize_only_after_registration() -> None:
    cache: Any = fastcache.LRUCache(7)
    assert not isinstance(cache, cachetools.Cache)
    plain = cachetools.cached(cache, info=True)(lambda: 1)
    assert plain.cache_info().maxsize is None

    class Registered(fastcache.LRUCache[Any, Any]):
        pass

    cachetools.Cache.register(Registered)
    registered: Any = Registered(7)
    shown = cachetools.cached(registered, info=True)(lambda: 1)
    assert shown.cache_info().maxsize == 7


def test_sizes_add_up_without_rounding() -> None:
    cache: Any = fastcache.LRUCache(10, lambda value: value)
    cache[1], cache[2] = 0.1, 0.2
    assert cache.currsize == pytest.approx(0.3, abs=1e-16)
    cache[1] = cache[2] = 0.5
    assert (cache.currsize, type(cache.currsize)) == (1, int)


def test_times_beyond_a_double_are_refused() -> None:
    made: Any = fastcache.TTLCache
    with pytest.raises((OverflowError, ValueError)):
        made(3, 10**400)
    with pytest.raises(TypeError):
        made(3, timedelta(seconds=1))
    dated: Any = fastcache.TTLCache(3, timedelta(seconds=1), datetime.now)
    dated[1] = 1
    assert dated[1] == 1
