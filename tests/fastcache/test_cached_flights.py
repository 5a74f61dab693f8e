"""fastcache.cached with several callers at once: one call for each key, threads or coroutines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fastcache import cached
from tests.fastcache.recorded_calls import Calls


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))


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
