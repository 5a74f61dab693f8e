"""cache_clear while a result is being stored: results of earlier calls are not cached."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fastcache import Cached, cached
from tests.support.thread_switching import let_others_run


class Source:
    """A value that changes, and a cached function that reads it.

    `interrupt` runs once, at the tested step; it changes the value and clears the cache.
    """

    def __init__(self) -> None:
        self.value = "old"
        self.function: Cached[..., str] | None = None
        self.armed = False

    def interrupt(self) -> None:
        if self.armed:
            self.armed = False
            self.value = "new"
            assert self.function is not None
            self.function.cache_clear()


class Key:
    """A key whose hash and comparison call functions of a test."""

    def __init__(self, on_hash: Callable[[], None], on_equal: Callable[[], None]) -> None:
        self.on_hash = on_hash
        self.on_equal = on_equal

    def __hash__(self) -> int:
        self.on_hash()
        return 7

    def __eq__(self, other: object) -> bool:
        self.on_equal()
        return self is other


def nothing() -> None:
    pass


PLACES = ["getsizeof", "timer", "hash", "comparison"]


def made(source: Source, place: str, function: Callable[..., Any]) -> tuple[Any, Any]:
    """A cached function that is cleared at a step of its storing, and the key of the call."""
    key: Any = 5

    def size(value: object) -> int:
        source.interrupt()
        return 1

    def timer() -> float:
        source.interrupt()
        return 0.0

    if place == "getsizeof":
        cached_function: Any = cached(8, getsizeof=size)(function)
    elif place == "timer":
        cached_function = cached(8, 60, timer=timer)(function)
    else:
        cached_function = cached(8)(function)
    if place == "hash":
        key = Key(source.interrupt, nothing)
    elif place == "comparison":
        key = Key(nothing, source.interrupt)
    source.function = cached_function
    return cached_function, key


@pytest.mark.parametrize("place", PLACES)
def test_cleared_while_a_result_is_stored(place: str) -> None:
    source = Source()

    def read(key: object) -> str:
        found = source.value
        source.armed = True
        return found

    function, key = made(source, place, read)
    if place == "comparison":
        # A key with the same hash, to compare with.
        function(Key(nothing, source.interrupt))
        source.armed = False
    assert function(key) == "old"
    assert source.value == "new", "the test's own interruption did not run"
    assert function(key) == "new"


@pytest.mark.parametrize("place", PLACES)
def test_cleared_while_a_coroutines_result_is_stored(place: str) -> None:
    source = Source()

    async def read(key: object) -> str:
        found = source.value
        await asyncio.sleep(0)
        source.armed = True
        return found

    async def work() -> None:
        function, key = made(source, place, read)
        if place == "comparison":
            await function(Key(nothing, source.interrupt))
            source.armed = False
        assert await function(key) == "old"
        assert source.value == "new"
        assert await function(key) == "new"

    asyncio.run(work())


def test_cleared_during_the_call() -> None:
    source = Source()

    def read(key: object) -> str:
        found = source.value
        source.armed = True
        source.interrupt()
        return found

    source.function = function = cached(8)(read)
    assert function(1) == "old"
    assert function.cache_info().currsize == 0
    assert function(1) == "new"


def test_stored_and_cleared_by_many_threads(long: bool) -> None:
    """After a clear, no thread gets a value that was read before it."""
    version = [0]

    @cached(64, 60, shards=4)
    def read(key: int) -> int:
        return version[0]

    errors: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            let_others_run()
            for key in range(20):
                # The function reads at least this value from now on.
                least = version[0] - 1
                found = read(key)
                if found < least:
                    errors.append(f"{found} after {least}")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 20_000 if long else 2_000):
        version[0] = number
        read.cache_clear()
        found = read(number % 20)
        assert found == number
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
