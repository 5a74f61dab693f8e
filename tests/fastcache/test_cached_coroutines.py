"""Every form of a coroutine function: `cached` caches its results, not its coroutines."""

from __future__ import annotations

import asyncio
import functools
import inspect
import unittest.mock
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest

from fastcache import cached


async def plain(x: int) -> int:
    await asyncio.sleep(0)
    return x


class Callee:
    async def __call__(self, x: int) -> int:
        return x

    async def method(self, x: int) -> int:
        return x

    @cached(8)
    async def cached_method(self, x: int) -> int:
        return x

    @classmethod
    async def of_class(cls, x: int) -> int:
        return x

    @staticmethod
    @cached(8)
    async def static(x: int) -> int:
        return x


class CachedCall:
    @cached(8)
    async def __call__(self, x: int) -> int:
        return x


async def of(instance: object, x: int) -> int:
    return x


KEPT = Callee()
FORMS: dict[str, Callable[[], Any]] = {
    "function": lambda: plain,
    "nested": lambda: cached(8)(plain),
    "nested twice": lambda: cached(8)(cached(4, 60)(plain)),
    "partial": lambda: functools.partial(plain),
    "partial of a cached one": lambda: functools.partial(cached(8)(plain)),
    "partial of a partial": lambda: functools.partial(functools.partial(cached(8)(plain))),
    "bound method": lambda: KEPT.method,
    "bound cached method": lambda: KEPT.cached_method,
    "class method": lambda: Callee.of_class,
    "static method": lambda: Callee.static,
    "staticmethod object": lambda: staticmethod(plain),
    "object with an asynchronous __call__": Callee,
    "object with a cached __call__": CachedCall,
    "method of an instance": lambda: MethodType(of, 3),
    "partial of an object": lambda: functools.partial(Callee()),
    "mock": lambda: unittest.mock.AsyncMock(side_effect=lambda x: x),
}


@pytest.mark.parametrize("form", FORMS)
def test_results_are_cached(form: str) -> None:
    async def work() -> None:
        function = cached(8)(FORMS[form]())
        for _ in range(3):
            assert await function(5) == 5
        assert await asyncio.gather(*[function(6) for _ in range(3)]) == [6, 6, 6]
        assert function.cache_info().currsize == 2
        assert function.cache_info().hits >= 2

    asyncio.run(work())


@pytest.mark.parametrize("form", FORMS)
def test_inspect_recognises_a_coroutine_function(form: str) -> None:
    function = cached(8)(FORMS[form]())
    assert inspect.iscoroutinefunction(function)
    assert inspect.iscoroutinefunction(functools.partial(function, 1))
    assert inspect.iscoroutinefunction(MethodType(function, 3))
    assert not inspect.isgeneratorfunction(function)
    assert not inspect.isasyncgenfunction(function)


@pytest.mark.filterwarnings("ignore:.*asyncio.iscoroutinefunction.*:DeprecationWarning")
def test_asyncio_recognises_a_coroutine_function() -> None:
    assert asyncio.iscoroutinefunction(cached(8)(plain))
    assert asyncio.iscoroutinefunction(cached(8)(cached(8)(plain)))
    assert not asyncio.iscoroutinefunction(cached(8)(len))


def test_other_functions_are_not_coroutine_functions() -> None:
    functions: list[Callable[..., Any]] = [len, functools.partial(len), int, Callee, cached(8)(len)]
    for function in functions:
        assert not inspect.iscoroutinefunction(cached(8)(function))


def test_signatures_are_kept() -> None:
    assert str(inspect.signature(cached(8)(plain))) == "(x: 'int') -> 'int'"
    assert cached(8)(plain).__wrapped__ is plain
    assert list(inspect.signature(KEPT.cached_method).parameters) == ["x"]


def test_generator_functions_in_any_form_are_rejected() -> None:
    class Generating:
        def __call__(self) -> Any:
            yield 1

    def generator() -> Any:
        yield 1

    for function in (functools.partial(generator), staticmethod(generator), Generating()):
        with pytest.raises(TypeError, match="generator"):
            cached(3)(function)
