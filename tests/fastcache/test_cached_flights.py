"""fastcache.cached with several callers at once: one call for each key, threads or coroutines."""

from __future__ import annotations

import asyncio
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fastcache import cached
from tests.support.fastcache.recorded_calls import Calls


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
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
        assert self.opened.wait(60)
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
        assert {id(call.result(60)) for call in calls} == {id(gate.result)}
    assert gate.calls == 1


def errors_of_waiters(gate: Gate, count: int) -> list[BaseException]:
    """The errors of `count` callers of one key, of which all but one wait."""
    function = cached(10)(gate)
    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(function, "key") for _ in range(count)]
        wait_until(lambda: function.cache_info().misses == count)
        time.sleep(0.1)
        gate.opened.set()
        errors = [call.exception(60) for call in calls]
    return [error for error in errors if error is not None]


def test_waiters_get_the_exception() -> None:
    gate = Gate(LookupError("no"))
    assert len(errors_of_waiters(gate, 4)) == 4
    assert gate.calls == 1


def test_an_exception_is_not_cached() -> None:
    gate = Gate(LookupError("no"))
    gate.opened.set()
    function = cached(10)(gate)
    with pytest.raises(LookupError):
        function("key")
    gate.result = "now"
    assert function("key") == "now"


class Refused(Exception):
    """An exception whose `args` differ from the arguments of `__init__`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Described(Exception):
    """An exception that defines how it is copied."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __copy__(self) -> Described:
        made = Described(code=self.code)
        vars(made).update(vars(self))
        return made


class Slotted(Exception):
    """An exception whose field is not in a __dict__."""

    __slots__ = ("code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class Unreachable(OSError):
    """An exception whose `args` differ from those of its base class."""

    def __init__(self, host: str) -> None:
        super().__init__(111, "refused")
        self.args = (host, "unreachable")


def syntax_error() -> SyntaxError:
    error = SyntaxError("no")
    error.lineno = 7
    return error


class Undecodable(UnicodeDecodeError):
    def __init__(self, name: str) -> None:
        super().__init__(name, b"\xff", 0, 1, "invalid")


@pytest.mark.parametrize(
    "error",
    [
        LookupError("no"),
        Refused(5, "late"),
        Described(code=5),
        OSError(2, "no such file", "a", None, "b"),
        ImportError("no", name="module", path="path"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        Undecodable("ascii"),
        SyntaxError("no", ("file", 1, 2, "text")),
        syntax_error(),
        Slotted(5),
        Unreachable("host"),
        ExceptionGroup("several", [ValueError(1), TypeError(2)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_waiter_gets_its_own_exception(error: Exception) -> None:
    error.add_note("seen")
    error.__cause__ = KeyError("cause")
    gate = Gate(error)
    errors = errors_of_waiters(gate, 4)
    assert gate.calls == 1
    assert len({id(own) for own in errors}) == 4
    assert any(own is error for own in errors)
    for own in errors:
        assert type(own) is type(error)
        assert str(own) == str(error)
        assert own.args == error.args
        assert vars(own) == vars(error)
        for name in ("code", "errno", "strerror", "lineno"):
            assert getattr(own, name, None) == getattr(error, name, None)
        assert own.__cause__ is error.__cause__
        assert own.__suppress_context__
        lines = traceback.format_exception(own)
        assert any("raise self.result" in line for line in lines), "where the call raised it"
    errors[0].add_note("of one")
    assert not any("of one" in vars(own)["__notes__"] for own in errors[1:])


class Alone(Exception):
    """A singleton exception."""

    def __copy__(self) -> Alone:
        return self


class Uncopied(Exception):
    """An exception that cannot be copied."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be copied")


@pytest.mark.parametrize("error", [Alone(), Uncopied()], ids=lambda error: type(error).__name__)
def test_an_exception_that_cannot_be_copied(error: Exception) -> None:
    """With the GIL, all callers raise it. Without the GIL, each makes its own call."""
    gate = Gate(error)
    errors = errors_of_waiters(gate, 4)
    assert all(own is error for own in errors)
    assert gate.calls == (4 if sysconfig.get_config_var("Py_GIL_DISABLED") else 1)


def test_waiters_call_again_after_an_aborted_call() -> None:
    gate = Gate(SystemExit())
    function = cached(10)(gate)

    def broken_off() -> None:
        with pytest.raises(SystemExit):
            function("key")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(broken_off)
        assert gate.entered.acquire(timeout=60)
        second = pool.submit(function, "key")
        wait_until(lambda: function.cache_info().misses == 2)
        time.sleep(0.1)
        gate.opened.set()
        first.result(60)
        assert isinstance(second.exception(60), SystemExit)
    assert gate.calls == 2


def test_keys_do_not_wait_for_each_other() -> None:
    gate = Gate()
    function = cached(10)(lambda key: gate() if key == "slow" else key)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(function, "slow")
        assert gate.entered.acquire(timeout=60)
        assert function("fast") == "fast"
        gate.opened.set()
        assert slow.result(60) == "result"


def test_a_call_that_needs_its_own_result_is_made_again() -> None:
    depth = 0

    @cached(10)
    def again(key: str) -> str:
        nonlocal depth
        depth += 1
        return again(key) + "." if depth < 4 else key

    assert again("key") == "key..."
    assert again("key") == "key..."
    assert depth == 4


def test_two_calls_that_need_each_other_do_not_wait_in_a_circle() -> None:
    barrier = threading.Barrier(2, timeout=60)
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
        assert all(result.result(60) in ("ab", "ba", "aba", "bab") for result in results)


def test_a_clear_discards_the_results_of_current_calls() -> None:
    gate = Gate("old")
    function = cached(10)(gate)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(function, "key")
        assert gate.entered.acquire(timeout=60)
        function.cache_clear()
        after = pool.submit(function, "key")
        assert gate.entered.acquire(timeout=60)
        assert gate.calls == 2
        gate.opened.set()
        assert before.result(60) == after.result(60) == "old"
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
            call.exception(60)
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
        assert results[0] is not results[1]

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


def test_a_coroutine_that_needs_its_own_result() -> None:
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
