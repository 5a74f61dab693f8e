"""Subclasses with overrides, alone and combined: each call returns what cachetools returns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fastcache.cache_kinds import KINDS, Kind
from tests.support.fastcache.fake_clock import Clock

MODELS, FASTS = KINDS[::2], KINDS[1::2]
PLAIN, SLOW_BEFORE, SLOW_AFTER = "plain", "slow before", "slow after"
RAISES, RAISES_AFTER = "raises", "raises after"
READS, STORES, DELETES = "reads another", "stores another", "deletes another"
MANNERS = [PLAIN, SLOW_BEFORE, SLOW_AFTER, RAISES, RAISES_AFTER, READS, STORES, DELETES]
METHODS = [
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__missing__"),
    *("pop", "popitem", "get", "setdefault", "getsizeof", "__iter__", "expire"),
]
# A key that only the overrides use.
ANOTHER = "another"


class HookError(Exception):
    """An error that an override itself raises."""


@dataclass
class Watched:
    """A cache of a subclass, and what its overrides were called with."""

    cache: Any
    clock: Clock
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    depth: int = 0
    quiet: bool = False

    def outcome(self, call: Callable[[Any], Any]) -> Any:
        """The result of a call, or the type of the error that it raises."""
        try:
            return call(self.cache)
        except (KeyError, ValueError, HookError) as error:
            return type(error)

    def state(self) -> tuple[Any, ...]:
        """Keys, the items from the least to the most recently used, the size and the time."""
        self.quiet = True
        try:
            drained = copy.copy(self.cache)
            items = [drained.popitem() for _ in range(len(drained))]
            return (list(self.cache), items, self.cache.currsize, self.clock.time)
        finally:
            self.quiet = False


def act(watched: Watched, cache: Any, manner: str) -> None:
    """Do what the manner adds to a call of the original method."""
    if manner == READS:
        cache.get(ANOTHER)
        assert len(cache) >= 0
    elif manner == STORES:
        cache[ANOTHER] = 1
    elif manner == DELETES:
        cache.pop(ANOTHER, None)


def override(watched: Watched, kind: Kind, method: str, manner: str) -> Callable[..., Any]:
    """An override that records its call and wraps the original method in a manner."""

    def original(cache: Any, *args: Any) -> Any:
        if method == "getsizeof":
            return args[0]
        if method == "__missing__" and manner == PLAIN:
            return "missing"
        return getattr(kind.base, method)(cache, *args)

    def hook(cache: Any, *args: Any) -> Any:
        if watched.quiet:
            return original(cache, *args)
        watched.calls.append((method, *args))
        if watched.depth:
            return original(cache, *args)
        if manner == SLOW_BEFORE:
            watched.clock.tick(2)
        if manner == RAISES:
            raise HookError(method)
        watched.depth += 1
        try:
            act(watched, cache, manner)
        finally:
            watched.depth -= 1
        result = original(cache, *args)
        if manner == SLOW_AFTER:
            watched.clock.tick(2)
        if manner == RAISES_AFTER:
            raise HookError(method)
        return result

    return hook


def watch(kind: Kind, maxsize: int, ttl: float, hooks: dict[str, str]) -> Watched:
    """An empty cache of a subclass with these overrides."""
    watched = Watched(None, Clock())
    methods = {name: override(watched, kind, name, manner) for name, manner in hooks.items()}
    subclass = type("Hooked", (kind.base,), methods)
    watched.cache = kind.make(maxsize, ttl=ttl, clock=watched.clock, subclass=subclass)
    return watched


KEYS = st.integers(0, 4)
VALUES = st.integers(0, 3)
HOOKS = st.dictionaries(st.sampled_from(METHODS), st.sampled_from(MANNERS), max_size=4)
CALLS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("store"), KEYS, VALUES),
    st.tuples(st.just("store"), KEYS, VALUES),
    st.tuples(
        st.sampled_from(["look up", "get", "in", "delete", "pop", "pop without a default"]), KEYS
    ),
    st.tuples(st.just("setdefault"), KEYS, VALUES),
    st.tuples(st.just("update"), st.lists(st.tuples(KEYS, VALUES), max_size=3)),
    st.tuples(
        st.sampled_from(
            ["popitem", "len", "clear", "keys", "values", "items", "expire", "size", "equals"]
        )
    ),
    st.tuples(st.sampled_from(["in values", "in items", "in keys"]), KEYS, VALUES),
    st.tuples(st.just("tick"), st.integers(1, 2)),
)
DONE: dict[str, Callable[..., Any]] = {
    "store": lambda cache, key, value: cache.__setitem__(key, value),
    "look up": lambda cache, key: cache[key],
    "get": lambda cache, key: cache.get(key, "none"),
    "in": lambda cache, key: key in cache,
    "delete": lambda cache, key: cache.__delitem__(key),
    "pop": lambda cache, key: cache.pop(key, "none"),
    "pop without a default": lambda cache, key: cache.pop(key),
    "setdefault": lambda cache, key, value: cache.setdefault(key, value),
    "update": lambda cache, items: cache.update(items),
    "popitem": lambda cache: cache.popitem(),
    "len": len,
    "clear": lambda cache: cache.clear(),
    "size": lambda cache: cache.currsize,
    "equals": lambda cache: copy.copy(cache) == {1: 1},
    "expire": lambda cache: sorted(cache.expire()) if hasattr(cache, "ttl") else None,
    # Views of a copy: those of cachetools count as a use.
    "keys": lambda cache: list(copy.copy(cache).keys()),
    "values": lambda cache: list(copy.copy(cache).values()),
    "items": lambda cache: list(copy.copy(cache).items()),
    "in keys": lambda cache, key, _: copy.copy(cache).keys().__contains__(key),
    "in values": lambda cache, _, value: value in copy.copy(cache).values(),
    "in items": lambda cache, key, value: (key, value) in copy.copy(cache).items(),
}


def without(calls: list[tuple[Any, ...]], method: str) -> list[tuple[Any, ...]]:
    return [call for call in calls if call[0] != method]


def run(name: str, args: list[Any], cache: Any) -> Any:
    return DONE[name](cache, *args)


@pytest.mark.parametrize("timed", [False, True])
def test_hooks_as_cachetools_calls_them(timed: bool, long: bool) -> None:
    @settings(
        max_examples=5000 if long else 300,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        maxsize=st.sampled_from([0, 1, 2, 3, 7]),
        ttl=st.sampled_from([0, 1, 3, 5]),
        hooks=HOOKS,
        calls=st.lists(CALLS, min_size=1, max_size=20),
    )
    def same(maxsize: int, ttl: float, hooks: dict[str, str], calls: list[tuple[Any, ...]]) -> None:
        if hooks.get("__getitem__") in (STORES, DELETES):
            # A key that is removed during its lookup is missing; cachetools raises KeyError.
            hooks["__getitem__"] = READS
        if hooks.get("expire") not in (None, RAISES):
            # A store calls it less often than in cachetools; see below.
            hooks["expire"] = PLAIN
        if hooks.get("getsizeof") == STORES:
            # cachetools raises KeyError if the other item has expired already.
            ttl = max(ttl, 1)
        model = watch(MODELS[timed], maxsize, ttl, hooks)
        fast = watch(FASTS[timed], maxsize, ttl, hooks)
        for name, *args in calls:
            for one in (model, fast):
                one.calls.clear()
                if name == "tick":
                    one.clock.tick(args[0])
            if name != "tick":
                call = partial(run, name, args)
                assert fast.outcome(call) == model.outcome(call), name
            # A store calls `expire` once, and not again for each item that it evicts.
            assert without(fast.calls, "expire") == without(model.calls, "expire"), name
            assert fast.state() == model.state(), name

    same()
