"""Check every sentence of docs/reference/fastcache.md: threads."""

from __future__ import annotations

import gc
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastcache
from fastcache import TTLCache
from tests.support.fastcache.cache_kinds import Kind
from tests.support.fastcache.callers import at_once, elsewhere
from tests.support.fastcache.document import holds
from tests.support.thread_switching import let_others_run


@holds(
    "A method that calls no override is atomic: no other thread sees an intermediate state.",
    "`setdefault` stores once, and `pop` gives an item to one thread.",
    "Two calls are not atomic together: the item may be removed between `key in cache` and "
    "`cache[key]`.",
)
def test_atomic_methods(kind: Kind) -> None:
    cache = kind.make(1)
    cache["key"] = 0
    stop = threading.Event()
    missed = []

    def read() -> None:
        while not stop.is_set():
            let_others_run()
            if cache.get("key") is None:
                missed.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(5_000):
        cache["key"] = number
    stop.set()
    reader.join()
    assert missed == []
    for _ in range(50):
        cache.clear()
        barrier = threading.Barrier(4)

        def meet(barrier: threading.Barrier = barrier) -> tuple[Any, Any]:
            barrier.wait(60)
            kept = cache.setdefault("key", object())
            barrier.wait(60)
            return kept, cache.pop("key", None)

        results: Any = at_once(meet)
        assert len({id(kept) for kept, _ in results}) == 1
        assert [popped for _, popped in results if popped is not None] == [results[0][0]]
    cache["key"] = 1
    assert "key" in cache
    elsewhere(cache.clear)
    with pytest.raises(KeyError):
        cache["key"]


@holds(
    "A method that calls an override may lose an item to another thread in between.",
    "A store then checks again whether it needs room, `popitem` takes the next item, and `pop` "
    "finds none.",
    "Any other `KeyError` from an override is raised.",
)
def test_lost_items(kind: Kind) -> None:
    class Losing(kind.base):  # type: ignore[misc, name-defined]
        def __delitem__(self, key: Any) -> None:
            if errors:
                raise errors.pop()
            if armed:
                armed.pop()
                elsewhere(lambda: super(Losing, self).__delitem__(key))
            super().__delitem__(key)

    armed: list[int] = []
    errors: list[KeyError] = []
    for call, result, left in (
        (lambda cache: cache.__setitem__(3, 3), None, [2, 3]),
        (lambda cache: cache.popitem(), (2, 2), []),
        (lambda cache: cache.pop(1, "none"), "none", [2]),
    ):
        cache = kind.make(2, subclass=Losing)
        cache.update({1: 1, 2: 2})
        armed.append(1)
        assert call(cache) == result  # type: ignore[no-untyped-call]
        assert list(cache) == left
        cache.update({1: 1, 2: 2})
        errors.append(KeyError("other"))
        with pytest.raises(KeyError, match="other"):
            call(cache)  # type: ignore[no-untyped-call]


@holds(
    "No lock is held while Python code runs.",
    "`__eq__`, `__hash__`, `__del__`, `getsizeof` and the timer may use the same cache.",
    "Values are released after the change.",
)
def test_python_code_may_use_the_cache() -> None:
    used = []

    def use(name: str) -> None:
        if name not in used:
            used.append(name)
            elsewhere(lambda: cache.get("other"))
            cache["inner"] = name
            assert cache["inner"] == name

    class Key:
        def __hash__(self) -> int:
            use("hash")
            return 5

        def __eq__(self, other: object) -> bool:
            use("eq")
            return self is other

    class Value:
        def __del__(self) -> None:
            # The new value is already stored.
            assert cache.get("value") == "next"
            use("del")

    def measure(value: object) -> int:
        use("getsizeof")
        return 1

    def timer() -> float:
        if cache is not None:
            use("timer")
        return 0.0

    cache: Any = None
    made: Any = TTLCache(50, 10, timer, measure)
    cache = made
    cache[Key()] = 1
    assert cache.get(Key()) is None
    cache["value"] = Value()
    cache["value"] = "next"
    gc.collect()
    assert sorted(used) == ["del", "eq", "getsizeof", "hash", "timer"]


@holds(
    "A lookup compares a key at most once, even if the cache changes in the meantime.",
    "A lookup whose `__eq__` keeps storing further keys of the same hash ends with a RuntimeError.",
)
def test_comparisons(kind: Kind) -> None:
    class Key:
        def __init__(self, disturb: Callable[[], object]) -> None:
            self.disturb = disturb
            self.compared = 0

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            self.compared += 1
            self.disturb()
            return False

    class Same:
        __hash__ = Key.__hash__

    cache = kind.make(10_000)

    def change() -> None:
        cache["x"] = 1
        del cache["x"]

    kept = [Key(change) for _ in range(3)]
    for key in kept:
        kind.base.__setitem__(cache, key, 1)
    for key in kept:
        key.compared = 0
    assert cache.get(Same()) is None
    assert [key.compared for key in kept] == [1, 1, 1]

    class Adding(Same):
        """Each comparison stores one more key of the same hash, an int."""

        def __eq__(self, other: object) -> bool:
            cache[1 + len(cache) * (2**61 - 1)] = 1
            return False

        __hash__ = Key.__hash__

    cache.clear()
    cache[1] = 1
    with pytest.raises(RuntimeError, match="added faster"):
        cache.get(Adding())
    assert len(cache) > 100


@holds("The modules declare support for CPython without the GIL (3.13t or later).")
def test_declared_support() -> None:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled()  # type: ignore[attr-defined]
    setup = Path(fastcache.__file__).parents[1] / "setup.py"
    assert '"freethreading_compatible": True' in setup.read_text("utf-8")
