"""Model-based tests: any sequence of operations gives the same results as a plain reference."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastcache import LRUCache, TTLCache
from tests.support.fastcache.cache_kinds import pickled
from tests.support.fastcache.fake_clock import Clock
from tests.support.fastcache.reference_cache import ReferenceCache


class Colliding:
    """A key with few distinct hashes and its own equality."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.number == other.number

    def __repr__(self) -> str:
        return f"Colliding({self.number})"


KEYS: st.SearchStrategy[Hashable] = st.one_of(
    st.integers(0, 12),
    st.integers(0, 6).map(lambda n: n << 32),
    st.integers(0, 12).map(Colliding),
    st.integers(0, 6).map(str),
    st.sampled_from([b"0", b"1", "é", "Ω", (1, "a"), -1, -2, 1.0, True]),
)
VALUES = st.integers(0, 4)


def outcome(call: Callable[[], Any]) -> Any:
    """The result of a call, or the type of the error that it raises."""
    try:
        return call()
    except (KeyError, ValueError) as error:
        return type(error)


class CacheMachine(RuleBasedStateMachine):
    """Runs each operation on a cache and on the reference."""

    cache: Any
    reference: ReferenceCache
    clock: Clock

    def both(self, operation: Callable[[Any], Any]) -> None:
        expected = outcome(lambda: operation(self.reference))
        assert outcome(lambda: operation(self.cache)) == expected

    @initialize(
        maxsize=st.sampled_from([0, 1, 2, 5, 17, 40]),
        ttl=st.sampled_from([None, 0, 1, 3, math.inf]),
        sized=st.booleans(),
    )
    def start(self, maxsize: int, ttl: float | None, sized: bool) -> None:
        getsizeof = (lambda value: value) if sized else None
        self.clock = Clock()
        if ttl is None:
            self.cache = LRUCache(maxsize, getsizeof)
            self.reference = ReferenceCache(maxsize, getsizeof=getsizeof)
        else:
            self.cache = TTLCache(maxsize, ttl, self.clock, getsizeof)
            self.reference = ReferenceCache(maxsize, ttl, self.clock, getsizeof)

    @rule(key=KEYS, value=VALUES)
    def store(self, key: Hashable, value: int) -> None:
        self.both(lambda cache: cache.__setitem__(key, value))

    @rule(key=KEYS, value=VALUES, ttl=st.sampled_from([None, -1, 0, 1, 2, 4, 9, math.inf]))
    def store_with_a_ttl(self, key: Hashable, value: int, ttl: float | None) -> None:
        if self.reference.timed:
            self.both(lambda cache: cache.set(key, value, ttl=ttl))

    @rule(keys=st.lists(KEYS, max_size=5))
    def get_many(self, keys: list[Hashable]) -> None:
        self.both(lambda cache: cache.get_many(keys))

    @rule(items=st.lists(st.tuples(KEYS, VALUES), max_size=4))
    def set_many(self, items: list[tuple[Hashable, int]]) -> None:
        self.both(lambda cache: cache.set_many(items))

    @rule(key=KEYS)
    def delete(self, key: Hashable) -> None:
        self.both(lambda cache: cache.__delitem__(key))

    @rule(key=KEYS)
    def get(self, key: Hashable) -> None:
        self.both(lambda cache: cache.get(key, "none"))
        self.both(lambda cache: cache[key])
        self.both(lambda cache: key in cache)

    @rule(key=KEYS)
    def pop(self, key: Hashable) -> None:
        self.both(lambda cache: cache.pop(key, "none"))

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: Hashable, value: int) -> None:
        self.both(lambda cache: cache.setdefault(key, value))

    @rule()
    def popitem(self) -> None:
        self.both(lambda cache: cache.popitem())

    @rule()
    def clear(self) -> None:
        self.both(lambda cache: cache.clear())

    @rule(by=st.integers(0, 3))
    def tick(self, by: int) -> None:
        self.clock.tick(by)

    @rule()
    def expire(self) -> None:
        if self.reference.timed:
            # Items with the same deadline may be in any order.
            assert Counter(self.cache.expire()) == Counter(self.reference.expire())

    @rule()
    def count(self) -> None:
        self.reference.expire()
        assert len(self.cache) == len(self.reference.by_use)
        assert self.cache.currsize == self.reference.size()

    @rule()
    def order_of_use(self) -> None:
        """Drain a copy: it evicts as the cache would."""
        drained = copy.copy(self.cache)
        items = [drained.popitem() for _ in range(len(drained))]
        now = self.clock()
        assert items == [
            (item.key, item.value) for item in self.reference.by_use if now < item.deadline
        ]

    @rule()
    def copies(self) -> None:
        assert list(copy.copy(self.cache).items()) == self.reference.live_items()

    @invariant()
    def same_items_and_statistics(self) -> None:
        if not hasattr(self, "cache"):
            return
        # list() of the cache would call len(), which expires items.
        assert list(iter(self.cache.items())) == self.reference.live_items()
        assert list(iter(self.cache.values())) == [
            value for _, value in self.reference.live_items()
        ]
        assert list(iter(self.cache)) == [key for key, _ in self.reference.live_items()]
        reference = self.reference
        assert self.cache.stats() == (
            reference.hits,
            reference.misses,
            reference.evictions,
            reference.expirations,
            len(reference.by_use),
        )


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(
    max_examples=250,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_many_entries_survive_growth_and_shuffled_deletion() -> None:
    cache: LRUCache[int, int] = LRUCache(100_000)
    for number in range(50_000):
        cache[number * 7919] = number
    for number in range(0, 50_000, 3):
        del cache[number * 7919]
    assert len(cache) == 50_000 - len(range(0, 50_000, 3))
    for number in range(50_000):
        assert cache.get(number * 7919) == (None if number % 3 == 0 else number)
    again = pickled(cache)
    assert list(again.items()) == list(cache.items())
