"""`cached`: what functools.lru_cache does, results that expire, and one call for each key."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastcache import CacheInfo, cached
from tests.fastcache.fake_clock import Clock

MAKERS: list[Callable[..., Any]] = [
    functools.lru_cache,
    cached,
    functools.partial(cached, ttl=60),
]


@pytest.fixture(params=MAKERS, ids=["functools", "fastcache", "fastcache with ttl"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


class Calls:
    """A function that records its calls."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.made.append((args, kwargs))
        return len(self.made)


@cached(10)
def at_module_level(number: int) -> int:
    """Its docstring."""
    return number


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))


# ---- as functools.lru_cache


def test_results_are_remembered(make: Callable[..., Any]) -> None:
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


def test_arguments_are_told_apart(make: Callable[..., Any]) -> None:
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


def test_no_limit_and_no_room(make: Callable[..., Any]) -> None:
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


def test_exceptions_are_not_remembered(make: Callable[..., Any]) -> None:
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


# ---- ours alone


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


def test_generator_functions_are_refused() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    for function in (generator, asynchronous):
        with pytest.raises(TypeError, match="generator"):
            cached(3)(function)


# ---- one call for each key


class Gate:
    """A function whose calls wait until it is opened."""

    def __init__(self, result: Any = "result") -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.calls = 0
        self.result = result

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        self.entered.release()
        assert self.opened.wait(20)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def test_callers_wait_for_the_first() -> None:
    gate = Gate(object())
    function = cached(10)(gate)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(function, "key") for _ in range(8)]
        wait_until(lambda: function.cache_info().misses == 8)
        gate.opened.set()
        assert {id(call.result(20)) for call in calls} == {id(gate.result)}
    assert gate.calls == 1


def test_waiters_get_the_exception() -> None:
    gate = Gate(LookupError("no"))
    function = cached(10)(gate)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function, "key") for _ in range(4)]
        wait_until(lambda: function.cache_info().misses == 4)
        time.sleep(0.1)
        gate.opened.set()
        assert all(isinstance(call.exception(20), LookupError) for call in calls)
    assert gate.calls == 1
    gate.result = "now"
    assert function("key") == "now"


def test_waiters_call_again_where_a_call_was_broken_off() -> None:
    gate = Gate(SystemExit())
    function = cached(10)(gate)

    def broken_off() -> None:
        with pytest.raises(SystemExit):
            function("key")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(broken_off)
        assert gate.entered.acquire(timeout=20)
        second = pool.submit(function, "key")
        wait_until(lambda: function.cache_info().misses == 2)
        time.sleep(0.1)
        gate.opened.set()
        first.result(20)
        assert isinstance(second.exception(20), SystemExit)
    assert gate.calls == 2


def test_keys_do_not_wait_for_each_other() -> None:
    gate = Gate()
    function = cached(10)(lambda key: gate() if key == "slow" else key)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(function, "slow")
        assert gate.entered.acquire(timeout=20)
        assert function("fast") == "fast"
        gate.opened.set()
        assert slow.result(20) == "result"


def test_a_call_that_needs_itself_is_made_again() -> None:
    depth = 0

    @cached(10)
    def again(key: str) -> str:
        nonlocal depth
        depth += 1
        return again(key) + "." if depth < 4 else key

    assert again("key") == "key..."
    assert again("key") == "key..."
    assert depth == 4


def test_two_that_need_each_other_do_not_wait_in_a_circle() -> None:
    barrier = threading.Barrier(2, timeout=20)
    met = threading.local()

    @cached(10)
    def other(key: str) -> str:
        if not hasattr(met, "once"):
            met.once = True
            barrier.wait()
            return key + other("b" if key == "a" else "a")
        return key

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(other, key) for key in "ab"]
        assert all(result.result(20) in ("ab", "ba", "aba", "bab") for result in results)


def test_a_clearing_ends_what_is_under_way() -> None:
    gate = Gate("old")
    function = cached(10)(gate)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(function, "key")
        assert gate.entered.acquire(timeout=20)
        function.cache_clear()
        after = pool.submit(function, "key")
        assert gate.entered.acquire(timeout=20)
        assert gate.calls == 2
        gate.opened.set()
        assert before.result(20) == after.result(20) == "old"
    assert function.cache_info().currsize == 1


def test_a_key_whose_comparison_fails_releases_its_waiters() -> None:
    class Key:
        broken = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if Key.broken:
                raise RuntimeError
            return True

    gate = Gate()
    function = cached(0)(gate)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(function, Key()) for _ in range(2)]
        wait_until(lambda: function.cache_info().misses == 2)
        time.sleep(0.1)
        Key.broken = True
        gate.opened.set()
        for call in calls:
            call.exception(20)
        Key.broken = False
    assert function(Key()) == "result"


# ---- coroutine functions


def test_coroutine_functions() -> None:
    calls = Calls()

    @cached(10, 60)
    async def double(number: int, *, by: int = 2) -> int:
        calls(number)
        await asyncio.sleep(0.005)
        return number * by

    async def main() -> None:
        assert list(await asyncio.gather(double(1), double(1), double(2))) == [2, 2, 4]
        assert await double(1) == 2
        assert await double(1, by=3) == 3
        assert len(calls.made) == 3

    asyncio.run(main())
    asyncio.run(main())
    assert len(calls.made) == 3
    assert double.cache_info().currsize == 3


def test_awaiters_get_the_exception() -> None:
    calls = Calls()

    @cached(10)
    async def failing(key: str) -> None:
        calls(key)
        await asyncio.sleep(0.005)
        raise LookupError(key)

    async def main() -> None:
        results = await asyncio.gather(failing("a"), failing("a"), return_exceptions=True)
        assert [type(result) for result in results] == [LookupError, LookupError]

    asyncio.run(main())
    assert len(calls.made) == 1


def test_a_cancelled_call_is_made_by_another() -> None:
    calls = Calls()

    @cached(10)
    async def slow(key: str) -> Any:
        number = calls(key)
        await asyncio.sleep(0.01 if number > 1 else 20)
        return number

    async def main() -> None:
        first = asyncio.create_task(slow("a"))
        await until(lambda: len(calls.made) == 1)
        second = asyncio.create_task(slow("a"))
        third = asyncio.create_task(slow("a"))
        await until(lambda: slow.cache_info().misses == 3)
        third.cancel()
        first.cancel()
        assert await second == 2
        assert first.cancelled()
        assert third.cancelled()

    asyncio.run(main())


def test_a_coroutine_that_needs_itself() -> None:
    depth = 0

    @cached(10)
    async def again(key: str) -> str:
        nonlocal depth
        depth += 1
        return await again(key) + "." if depth < 3 else key

    assert asyncio.run(again("key")) == "key.."


def test_coroutine_method() -> None:
    class Owner:
        @cached(10)
        async def method(self, number: int) -> int:
            return number

    assert asyncio.run(Owner().method(3)) == 3
