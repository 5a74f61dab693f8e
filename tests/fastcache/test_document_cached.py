"""Check every sentence of docs/reference/fastcache.md: `cached`."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from typing import Any

import cachetools
import pytest

from fastcache import cached
from tests.support.fastcache.callers import at_once
from tests.support.fastcache.document import holds


@holds(
    "Concurrent calls with equal arguments wait for the first call's result.",
    "An exception is raised in all waiting calls, as a copy for each, and is not cached.",
    "If it cannot be copied, all calls raise the same object; without the GIL, they call the "
    "function one after the other.",
)
def test_concurrent_calls() -> None:
    started = threading.Event()
    calls: list[int] = []

    def enter() -> None:
        """The first call waits until the others are waiting, or have had the time to."""
        calls.append(1)
        if len(calls) == 1:
            started.wait(0.3)

    @cached(8)
    def value() -> object:
        enter()
        return object()

    assert len(set(map(id, at_once(value)))) == 1
    assert len(calls) == 1

    class Uncopied(Exception):
        def __reduce__(self) -> Any:
            raise TypeError

    for made, distinct in ((ValueError, True), (Uncopied, False)):
        calls.clear()

        @cached(8)
        def failing(made: type[Exception] = made) -> None:
            enter()
            raise made("no")

        errors = at_once(failing)
        assert {type(error) for error in errors} == {made}
        with_the_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        if distinct:
            assert len(calls) < 4
            assert len(set(map(id, errors))) == 4
        elif not with_the_gil:
            assert len(calls) == len(set(map(id, errors))) == 4
        else:
            assert len(set(map(id, errors))) == len(calls) < 4
        before = len(calls)
        with pytest.raises(made):
            failing()
        assert len(calls) == before + 1, "it is not cached"


@holds(
    "It decorates functions, methods and coroutine functions, also inside a `functools.partial`, "
    "inside another `cached`, or as the `__call__` of an object.",
)
def test_what_is_decorated() -> None:
    class Owner:
        @cached(8)
        def method(self) -> object:
            return object()

    class Callee:
        async def __call__(self) -> object:
            return object()

    async def coroutine() -> object:
        return object()

    owner = Owner()
    assert owner.method() is owner.method()
    plain: list[Any] = [object, functools.partial(object), cached(8)(object)]
    for function in plain:
        wrapped = cached(8)(function)
        assert wrapped() is wrapped()
    awaited: list[Any] = [
        coroutine,
        functools.partial(coroutine),
        cached(8)(coroutine),
        functools.partial(cached(8)(coroutine)),
        Callee(),
    ]
    for function in awaited:
        wrapped = cached(8)(function)

        async def twice(wrapped: Any = wrapped) -> bool:
            return await wrapped() is await wrapped()

        assert asyncio.run(twice())


@holds(
    "A plain function that returns a coroutine is not recognised: the coroutine itself is cached, "
    "as by `functools.lru_cache`, and can be awaited once.",
)
def test_a_plain_function_that_returns_a_coroutine() -> None:
    async def answer() -> int:
        return 5

    for decorate in (functools.lru_cache, cached, lambda size: cachetools.cached({})):
        function: Any = decorate(8)(lambda: answer())

        async def twice(function: Any = function) -> None:
            assert await function() == 5
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                await function()

        asyncio.run(twice())


@holds("Arguments must be hashable, even with `maxsize=0`.")
def test_unhashable_arguments() -> None:
    for maxsize in (0, 8):
        with pytest.raises(TypeError, match="unhashable"):
            cached(maxsize)(len)([])


@holds("After `cache_clear`, results of calls that began before it are not cached.")
def test_cleared_during_a_call() -> None:
    @cached(8)
    def function(depth: int) -> object:
        function.cache_clear()
        return object()

    assert function(1) is not function(1)
