"""`cached` in any sequence of calls, against functools.lru_cache and cachetools.cached."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import cachetools
import cachetools.keys
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastcache import cached
from tests.support.fastcache.cache_kinds import KINDS
from tests.support.fastcache.fake_clock import Clock


class FailureError(Exception):
    """An error that a decorated function raises."""


class Side:
    """A decorated function that numbers its calls, and a class with a decorated method."""

    def __init__(self, decorate: Callable[[Callable[..., Any]], Any]) -> None:
        self.calls: list[Any] = []
        self.function: Any = decorate(self.called)

        class Owner:
            method = decorate(lambda owner, *args, **named: self.called(owner.name, *args, **named))

            def __init__(self, name: str) -> None:
                self.name = name

        self.owners = [Owner("one"), Owner("two")]
        self.method: Any = Owner.method

    def called(self, *args: Any, **named: Any) -> int:
        self.calls.append((args, tuple(named.items())))
        for arg in args:
            if arg == "fail":
                raise FailureError(args)
            if isinstance(arg, tuple) and arg[:1] == ("calls",):
                # A nested call has other arguments: a call must not wait for itself.
                self.function(*arg[1:])
        return len(self.calls)


SIMPLE = st.sampled_from([0, 1, 2, 3, 1.0, True, "1", b"1", None, (1,), -1, -2, 2**70])
ARGUMENT = st.one_of(
    SIMPLE, SIMPLE, SIMPLE, st.just("fail"), st.tuples(st.just("calls"), SIMPLE), st.just([1])
)
ARGUMENTS = st.one_of(st.tuples(ARGUMENT), st.lists(ARGUMENT, max_size=2).map(tuple))
NAMED: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), st.dictionaries(st.sampled_from("ab"), SIMPLE, max_size=2)
)
SETTINGS = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def outcome(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The result of a call, or the type of the error that it raises."""
    try:
        return call(*args, **named)
    except (FailureError, TypeError) as error:
        return type(error)


def hashed(args: tuple[Any, ...]) -> bool:
    """Whether the arguments are hashable, which functools does not require for maxsize=0."""
    return not any(isinstance(arg, list) for arg in args)


class Functools(RuleBasedStateMachine):
    """Functions and methods, against functools.lru_cache."""

    sides: list[Side]

    @initialize(maxsize=st.sampled_from([0, 1, 2, 5, None]), typed=st.booleans())
    def start(self, maxsize: int | None, typed: bool) -> None:
        self.maxsize = maxsize
        self.sides = [
            Side(functools.lru_cache(maxsize, typed=typed)),
            Side(cached(maxsize, typed=typed)),
        ]

    @rule(args=ARGUMENTS, named=NAMED)
    def call(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        assume(hashed(args) or self.maxsize != 0)
        model, fast = (outcome(side.function, *args, **named) for side in self.sides)
        assert fast == model

    @rule(owner=st.integers(0, 1), args=ARGUMENTS, named=NAMED)
    def call_a_method(self, owner: int, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        assume(hashed(args) or self.maxsize != 0)
        model, fast = (outcome(side.owners[owner].method, *args, **named) for side in self.sides)
        assert fast == model

    @rule()
    def clear(self) -> None:
        for side in self.sides:
            side.function.cache_clear()

    @rule()
    def clear_the_method(self) -> None:
        for side in self.sides:
            side.owners[0].method.cache_clear()

    @invariant()
    def same_calls_and_counts(self) -> None:
        if not hasattr(self, "sides"):
            return
        model, fast = self.sides
        assert fast.calls == model.calls
        for name in ("function", "method"):
            one, other = getattr(model, name), getattr(fast, name)
            assert other.cache_info() == one.cache_info()
            parameters = other.cache_parameters()
            assert parameters.pop("ttl") is None
            assert parameters == one.cache_parameters()


TestFunctools = Functools.TestCase
TestFunctools.settings = SETTINGS


class Awaited(RuleBasedStateMachine):
    """Coroutine functions, against functions with functools.lru_cache.

    Concurrent calls with equal arguments share one call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        self.loop.close()

    @initialize(maxsize=st.sampled_from([0, 1, 2, 5, None]), typed=st.booleans())
    def start(self, maxsize: int | None, typed: bool) -> None:
        self.maxsize = maxsize
        self.plain = Side(functools.lru_cache(maxsize, typed=typed))
        self.side = Side(cached(maxsize, typed=typed))
        called = self.side.called

        @cached(maxsize, typed=typed)
        async def function(*args: Any, **named: Any) -> int:
            await asyncio.sleep(0)
            result = called(*args, **named)
            await asyncio.sleep(0)
            return result

        self.function = function

    @rule(args=st.tuples(st.one_of(SIMPLE, st.just("fail"))), named=NAMED)
    def call(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        async def one() -> Any:
            return await self.function(*args, **named)

        assert outcome(self.loop.run_until_complete, one()) == outcome(
            self.plain.function, *args, **named
        )

    @rule(keys=st.lists(st.integers(0, 3), max_size=6))
    def call_at_once(self, keys: list[int]) -> None:
        async def several() -> list[int]:
            return await asyncio.gather(*[self.function(key) for key in keys])

        before = len(self.side.calls)
        results = self.loop.run_until_complete(several())
        # Equal keys get the same result, different keys different results.
        assert len(set(zip(keys, results, strict=True))) == len(set(keys))
        made = self.side.calls[before:]
        assert len(made) == len(set(made)) <= len(set(keys))
        # The model starts again: which results a small cache keeps is not specified.
        self.function.cache_clear()
        self.plain.function.cache_clear()
        self.plain.calls[:] = self.side.calls

    @rule()
    def clear(self) -> None:
        self.function.cache_clear()
        self.plain.function.cache_clear()

    @invariant()
    def same_calls_and_counts(self) -> None:
        if hasattr(self, "plain"):
            assert self.side.calls == self.plain.calls
            assert self.function.cache_info() == self.plain.function.cache_info()


TestAwaited = Awaited.TestCase
TestAwaited.settings = SETTINGS


class Expiring(RuleBasedStateMachine):
    """With a TTL and sizes, against cachetools.cached over a cachetools.TTLCache.

    Each call has two arguments, because cachetools treats f(1) and f(1.0) as the same call.
    """

    sides: list[Side]

    @initialize(
        maxsize=st.sampled_from([0, 1, 3, 12]), ttl=st.sampled_from([0, 1, 3]), sized=st.booleans()
    )
    def start(self, maxsize: int, ttl: int, sized: bool) -> None:
        self.clock = Clock()
        measure = (lambda value: value % 5) if sized else None

        def model(function: Callable[..., Any]) -> Any:
            cache = cachetools.TTLCache[Any, Any](maxsize, ttl, self.clock, measure)
            return cachetools.cached(cache, info=True)(function)

        self.sides = [
            Side(model),
            Side(cached(maxsize, ttl, timer=self.clock, getsizeof=measure)),
        ]

    @rule(key=st.integers(0, 4), other=st.sampled_from([0, "fail", ("calls", 1, 0)]))
    def call(self, key: int, other: Any) -> None:
        model, fast = (outcome(side.function, key, other) for side in self.sides)
        assert fast == model

    @rule(by=st.integers(1, 2))
    def tick(self, by: int) -> None:
        self.clock.tick(by)

    @rule()
    def clear(self) -> None:
        for side in self.sides:
            side.function.cache_clear()

    @invariant()
    def same_calls_and_counts(self) -> None:
        if hasattr(self, "sides"):
            model, fast = self.sides
            assert fast.calls == model.calls
            assert fast.function.cache_info() == model.function.cache_info()


TestExpiring = Expiring.TestCase
TestExpiring.settings = SETTINGS


class Decorated(RuleBasedStateMachine):
    """cachetools.cached over caches of both libraries, with key functions and locks."""

    sides: list[Side]

    @initialize(
        timed=st.booleans(),
        maxsize=st.sampled_from([0, 1, 3]),
        key=st.sampled_from([cachetools.keys.hashkey, cachetools.keys.typedkey, lambda *args: 1]),
        locked=st.booleans(),
        info=st.booleans(),
    )
    def start(self, timed: bool, maxsize: int, key: Any, locked: bool, info: bool) -> None:
        self.clock = Clock()
        self.caches = [
            each.make(maxsize, ttl=3, clock=self.clock) for each in KINDS[2 * timed : 2 * timed + 2]
        ]
        decorate: Any = cachetools.cached
        self.sides = [
            Side(decorate(cache, key=key, lock=threading.RLock() if locked else None, info=info))
            for cache in self.caches
        ]

    @rule(args=st.lists(ARGUMENT, min_size=1, max_size=2).map(tuple), by=st.integers(0, 2))
    def call(self, args: tuple[Any, ...], by: int) -> None:
        model, fast = (outcome(side.function, *args) for side in self.sides)
        assert fast == model
        self.clock.tick(by)

    @rule(owner=st.integers(0, 1), args=ARGUMENTS)
    def call_a_method(self, owner: int, args: tuple[Any, ...]) -> None:
        model, fast = (outcome(side.function, owner, *args) for side in self.sides)
        assert fast == model

    @rule()
    def clear(self) -> None:
        for side in self.sides:
            side.function.cache_clear()

    @invariant()
    def same_calls_and_contents(self) -> None:
        if hasattr(self, "sides"):
            model, fast = self.sides
            assert fast.calls == model.calls
            assert list(self.caches[1]) == list(self.caches[0])
            if hasattr(model.function, "cache_info"):
                assert fast.function.cache_info()[:2] == model.function.cache_info()[:2]


TestDecorated = Decorated.TestCase
TestDecorated.settings = SETTINGS
