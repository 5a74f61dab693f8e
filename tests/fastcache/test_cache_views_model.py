"""Iterators and views of a changing cache, in any sequence of steps.

Views agree with those of cachetools. Iterators never fail: they return each key at most once,
every key that stays, and no key after its removal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.fastcache.cache_kinds import KINDS, Kind
from tests.support.fastcache.fake_clock import Clock

KEYS = st.integers(0, 7)
VALUES = st.integers(0, 3)
PARTS = ["keys", "values", "items", "cache"]


@dataclass
class Iteration:
    """An iterator of the cache, and the keys that it must return."""

    iterator: Iterator[Any]
    part: str
    always: set[int]
    """The keys that have been present since the iterator was created."""
    seen: list[Any] = field(default_factory=list)


class Views(RuleBasedStateMachine):
    """A cache and its model, with views and iterators of any age."""

    model: Any
    fast: Any

    @initialize(
        timed=st.booleans(), maxsize=st.sampled_from([0, 1, 3, 6, 20]), ttl=st.sampled_from([2, 5])
    )
    def start(self, timed: bool, maxsize: int, ttl: int) -> None:
        self.clock = Clock()
        kinds: list[Kind] = KINDS[2 * timed : 2 * timed + 2]
        self.model, self.fast = (each.make(maxsize, ttl=ttl, clock=self.clock) for each in kinds)
        # Made once, while the cache is empty.
        self.views = {part: getattr(self.fast, part)() for part in PARTS[:3]}
        self.iterations: list[Iteration] = []

    def contents(self) -> dict[int, int]:
        """The live items of a copy of the model, whose own views would count as a use."""
        return dict(copy.copy(self.model).items())

    def changed(self) -> None:
        """Drop missing keys from those that an iterator must return."""
        there = set(self.contents())
        for iteration in self.iterations:
            iteration.always &= there

    @rule(key=KEYS, value=VALUES)
    def store(self, key: int, value: int) -> None:
        for cache in (self.model, self.fast):
            if cache.maxsize:
                cache[key] = value
        self.changed()

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        assert self.fast.pop(key, None) == self.model.pop(key, None)
        self.changed()

    @rule(key=KEYS)
    def use(self, key: int) -> None:
        assert self.fast.get(key) == self.model.get(key)

    @rule(by=st.integers(1, 3))
    def tick(self, by: int) -> None:
        self.clock.tick(by)
        self.changed()

    @rule()
    def clear(self) -> None:
        self.fast.clear()
        self.model.clear()
        self.changed()

    @rule(part=st.sampled_from(PARTS))
    def iterate(self, part: str) -> None:
        subject = self.fast if part == "cache" else self.views[part]
        self.iterations.append(Iteration(iter(subject), part, set(self.contents())))

    @rule(data=st.data(), steps=st.integers(1, 9))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        if not self.iterations:
            return
        iteration = data.draw(st.sampled_from(self.iterations))
        for _ in range(steps):
            found = next(iteration.iterator, None)
            if found is None:
                self.ended(iteration)
                return
            contents = self.contents()
            if iteration.part == "items":
                assert contents[found[0]] == found[1]
            elif iteration.part == "values":
                assert found in contents.values()
            else:
                assert found in contents
            iteration.seen.append(found)

    def ended(self, iteration: Iteration) -> None:
        assert next(iteration.iterator, None) is None
        seen = iteration.seen
        if iteration.part == "values":
            assert len(seen) >= len(iteration.always)
        else:
            keys = [key for key, _ in seen] if iteration.part == "items" else seen
            assert len(keys) == len(set(keys))
            assert iteration.always <= set(keys)
        self.iterations.remove(iteration)

    @rule(others=st.sets(KEYS, max_size=4), value=VALUES)
    def compare(self, others: set[int], value: int) -> None:
        """Views compare and combine like those of a dict with the same items."""
        like = self.contents()
        keys, values, items = (self.views[part] for part in PARTS[:3])
        assert keys == like.keys()
        assert items == like.items()
        assert (keys & others, keys | others) == (like.keys() & others, like.keys() | others)
        assert (keys - others, keys ^ others) == (like.keys() - others, like.keys() ^ others)
        assert keys.isdisjoint(others) == like.keys().isdisjoint(others)
        assert (keys <= others, keys >= others) == (like.keys() <= others, like.keys() >= others)
        pairs = {(key, value) for key in others}
        assert (items & pairs, items - pairs) == (like.items() & pairs, like.items() - pairs)
        for key in range(8):
            assert (key in keys) == (key in like)
            assert ((key, value) in items) == ((key, value) in like.items())
        assert (value in values) == (value in like.values())
        assert self.fast == like
        assert self.fast == self.fast

    @rule()
    def views_of_a_changing_cache(self) -> None:
        """Removing keys during iteration is allowed, unlike with a dict."""
        for key in list(self.contents())[:2]:
            for each in self.fast:
                if each == key:
                    del self.fast[each]
                    self.model.pop(each)
        self.changed()

    @invariant()
    def same_views_and_order_of_use(self) -> None:
        if not hasattr(self, "views"):
            return
        like = self.contents()
        # The order of items with equal deadlines is not specified.
        assert sorted(self.views["items"]) == sorted(like.items())
        assert sorted(self.views["values"]) == sorted(like.values())
        assert sorted(self.views["keys"]) == sorted(like)
        drained, model = copy.copy(self.fast), copy.copy(self.model)
        assert [drained.popitem() for _ in like] == [model.popitem() for _ in like]
        assert len(self.views["keys"]) == len(like)


TestViews = Views.TestCase
TestViews.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
