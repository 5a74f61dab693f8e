"""`cached`: the behaviour of functools.lru_cache, expiry, and one call for each key."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import pickle
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastcache import CacheInfo, cached
from tests.support.fastcache.fake_clock import Clock
from tests.support.fastcache.recorded_calls import Calls

MAKERS: list[Callable[..., Any]] = [
    functools.lru_cache,
    cached,
    functools.partial(cached, ttl=60),
]


@pytest.fixture(params=MAKERS, ids=["functools", "fastcache", "fastcache with ttl"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


@cached(10)
def at_module_level(number: int) -> int:
    """Its docstring."""
    return number


# ---- as functools.lru_cache


def test_results_are_cached(make: Callable[..., Any]) -> None:
    calls = Calls()
    function = make(2)(calls)
    assert [function(key) for key in "abacab"] == [1, 2, 1, 3, 1, 4]
    assert function.cache_info() == (2, 4, 2, 2)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 2, 0)
    assert function("a") == 5


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    (("1",), {}),
    ((b"1",), {}),
    (((1,),), {}),
    ((None,), {}),
    ((1, 2), {}),
    (((1, 2),), {}),
    ((), {"a": 1}),
    ((), {"a": 2}),
    ((), {"b": 1}),
    ((1,), {"a": 1}),
    ((1,), {"a": 1, "b": 2}),
    ((1, "a"), {}),
    ((("a",), 1), {}),
]


def test_arguments_are_distinguished(make: Callable[..., Any]) -> None:
    function = make(100)(Calls())
    for _ in range(2):
        results = [function(*args, **kwargs) for args, kwargs in ARGUMENTS]
        assert results == list(range(1, len(ARGUMENTS) + 1))


@pytest.mark.parametrize("typed", [False, True])
def test_typed(make: Callable[..., Any], typed: bool) -> None:
    function = make(100, typed=typed)(Calls())
    assert function.cache_parameters()["typed"] is typed
    pairs = [((1, 2), (1, 2.0)), ((2.0,), (2 + 0j,))]
    for left, right in pairs:
        assert (function(*left) == function(*right)) is not typed
    assert (function(a=1) == function(a=1.0)) is not typed
    assert function(1, 2) == function(1, 2)


def test_no_limit_and_no_capacity(make: Callable[..., Any]) -> None:
    unlimited = make(None)(Calls())
    for number in range(500):
        unlimited(number)
    assert unlimited.cache_info() == (0, 500, None, 500)
    nothing = make(0)(Calls())
    assert [nothing(1), nothing(1)] == [1, 2]
    assert nothing.cache_info() == (0, 2, 0, 0)


def test_wrapper_looks_like_the_function(make: Callable[..., Any]) -> None:
    def function(number: int, *, name: str = "x") -> int:
        """Do it."""
        return number

    wrapper: Any = make(3)(function)
    assert (wrapper.__name__, wrapper.__doc__) == ("function", "Do it.")
    assert wrapper.__wrapped__ is function
    assert inspect.signature(wrapper) == inspect.signature(function)
    assert copy.copy(wrapper) is copy.deepcopy(wrapper) is wrapper
    wrapper.anything = 1
    assert wrapper.anything == 1
    assert weakref.ref(wrapper)() == wrapper
    with pytest.raises(TypeError):
        wrapper(1, 2, 3)
    with pytest.raises(TypeError, match="unhashable"):
        wrapper([])


def test_methods(make: Callable[..., Any]) -> None:
    class Owner:
        calls = Calls()

        @make(10)  # type: ignore[untyped-decorator]
        def method(self, number: int, *, by: int = 1) -> Any:
            return self.calls(number)

        @classmethod
        @make(10)  # type: ignore[untyped-decorator]
        def of_class(cls, number: int) -> Any:
            return cls, number

        @staticmethod
        @make(10)  # type: ignore[untyped-decorator]
        def static(number: int) -> int:
            return number

    one, other = Owner(), Owner()
    assert [one.method(5), one.method(5), other.method(5), one.method(5, by=1)] == [1, 1, 2, 3]
    assert one.method.cache_info()[:2] == (1, 3)
    bound = one.method
    assert bound(5) == Owner.method(one, 5) == 1
    assert bound.__self__ is one
    assert Owner.of_class(3) == one.of_class(3) == (Owner, 3)
    assert Owner.static(3) == one.static(3) == 3


def test_exceptions_are_not_cached(make: Callable[..., Any]) -> None:
    calls = Calls()

    @make(3)  # type: ignore[untyped-decorator]
    def failing(number: int) -> int:
        calls(number)
        raise LookupError(number)

    for _ in range(2):
        with pytest.raises(LookupError):
            failing(1)
    assert len(calls.made) == 2
    assert failing.cache_info() == (0, 2, 3, 0)


def test_recursion(make: Callable[..., Any]) -> None:
    @make(100)  # type: ignore[untyped-decorator]
    def fibonacci(number: int) -> int:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert fibonacci(60) == 1548008755920
    assert fibonacci.cache_info()[:2] == (58, 61)


def test_pickling() -> None:
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level  # noqa: S301
    assert at_module_level.__doc__ == "Its docstring."


def test_cycle_is_collected(make: Callable[..., Any]) -> None:
    class Owner:
        def __init__(self) -> None:
            self.function = make(3)(self.method)
            self.function(5)

        def method(self, number: int) -> Owner:
            return self

    owner = Owner()
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


# ---- fastcache only


def test_results_expire() -> None:
    clock = Clock()
    function = cached(10, 5, timer=clock)(Calls())
    assert [function(1), function(1)] == [1, 1]
    clock.tick(5)
    assert function(1) == 2
    assert function.cache_info() == CacheInfo(hits=1, misses=2, maxsize=10, currsize=1)
    assert function.cache_parameters() == {"maxsize": 10, "ttl": 5, "typed": False}


def test_results_expire_at_datetimes() -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    function = cached(10, timedelta(days=1), timer=lambda: now[0])(Calls())
    assert [function(1), function(1)] == [1, 1]
    now[0] += timedelta(days=1)
    assert function(1) == 2


def test_sizes_and_shards() -> None:
    @cached(10, getsizeof=len)
    def text(length: int) -> str:
        return "x" * length

    assert [text(4), text(4), text(20), text(20)] == ["x" * 4, "x" * 4, "x" * 20, "x" * 20]
    assert text.cache_info() == CacheInfo(1, 3, 10, 4)
    spread = cached(64, 60, shards=4)(Calls())
    assert [spread(number) for number in range(8)] * 2 == [spread(n) for n in range(8)] * 2


def test_each_function_has_its_own_cache() -> None:
    decorate = cached(10)
    one, other = decorate(Calls()), decorate(Calls())
    one(1), one(2)
    assert other.cache_info().currsize == 0


@pytest.mark.parametrize("arguments", [(-1,), ("3",), (3, "5"), (len,)])
def test_wrong_arguments(arguments: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cached(*arguments)
    with pytest.raises(TypeError, match="decorates functions, not int"):
        cached(3)(5)  # type: ignore[arg-type]


def test_generator_functions_are_rejected() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    for function in (generator, asynchronous):
        with pytest.raises(TypeError, match="generator"):
            cached(3)(function)
