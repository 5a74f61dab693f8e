"""Misbehaving objects: the cache stays consistent, and the process does not crash."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from fastcache import TTLCache
from tests.support.fastcache.cache_kinds import Kind, check
from tests.support.thread_switching import switching_every

pytestmark = pytest.mark.attack


class Broken(Exception):
    """The error that a misbehaving object raises."""


class Key:
    """A key whose hash and equality call `act` first; all keys have the same hash."""

    act: Callable[[], object] | None = None

    def __init__(self, name: object) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        act, Key.act = Key.act, None
        if act is not None:
            act()
        return isinstance(other, Key) and self.name == other.name


class Finalised:
    """A value that calls `act` when it is destroyed."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


@pytest.fixture(autouse=True)
def harmless_afterwards() -> Iterator[None]:
    yield
    Key.act = None


def raises() -> None:
    raise Broken


USES: list[Callable[[Any, Any], object]] = [
    lambda cache, key: cache[key],
    lambda cache, key: cache.get(key),
    lambda cache, key: key in cache,
    lambda cache, key: cache.__setitem__(key, "new"),
    lambda cache, key: cache.__delitem__(key),
    lambda cache, key: cache.pop(key, None),
    lambda cache, key: cache.setdefault(key, "new"),
]

ACTS: list[Callable[[Any, list[Key]], object]] = [
    lambda cache, keys: cache.clear(),
    lambda cache, keys: [cache.pop(key, None) for key in keys],
    lambda cache, keys: cache.pop(keys[0], None),
    lambda cache, keys: cache.pop(keys[-1], None),
    lambda cache, keys: cache.update({Key(n): n for n in range(20, 60)}),
    lambda cache, keys: cache.__setitem__(keys[0], "other"),
    lambda cache, keys: (cache.clear(), cache.update(dict.fromkeys(keys, 0))),
    lambda cache, keys: cache.__init__(*((4, 60.0) if hasattr(cache, "ttl") else (4,))),
    lambda cache, keys: [cache.popitem() for _ in range(len(cache))],
    lambda cache, keys: gc.collect(),
]


@pytest.mark.parametrize("use", range(len(USES)))
@pytest.mark.parametrize("act", range(len(ACTS)))
def test_eq_changes_the_cache(kind: Kind, use: int, act: int) -> None:
    """In the middle of each operation, __eq__ does each kind of harm to the same cache."""
    for name in (0, 3, 7, "absent"):
        cache = kind.make(10)
        keys = [Key(n) for n in range(8)]
        cache.update({key: key.name for key in keys})
        Key.act = lambda cache=cache, keys=keys: ACTS[act](cache, keys)
        with suppress(KeyError):
            USES[use](cache, Key(name))
        Key.act = None
        check(cache)


@pytest.mark.parametrize("use", range(len(USES)))
def test_eq_raises(kind: Kind, use: int) -> None:
    cache = kind.make(10)
    cache.update({Key(n): n for n in range(5)})
    before = cache.stats()
    Key.act = raises
    with pytest.raises(Broken):
        USES[use](cache, Key(3))
    assert cache.stats() == before
    assert [key.name for key in cache] == [0, 1, 2, 3, 4]
    check(cache)


@pytest.mark.parametrize("use", range(len(USES)))
def test_hash_raises(kind: Kind, use: int) -> None:
    class Unhashable:
        def __hash__(self) -> int:
            raise Broken

    cache = kind.make(3)
    cache[1] = 1
    with pytest.raises(Broken):
        USES[use](cache, Unhashable())
    assert dict(cache) == {1: 1}


@pytest.mark.parametrize("use", range(len(USES)))
def test_hash_empties_the_cache(kind: Kind, use: int) -> None:
    class Emptying:
        def __hash__(self) -> int:
            cache.clear()
            return 5

    cache = kind.make(3)
    cache.update({1: 1, 5: 5})
    with suppress(KeyError):
        USES[use](cache, Emptying())
    check(cache)


def test_the_compared_entry_is_deleted_and_stored_again(kind: Kind) -> None:
    cache = kind.make(5)
    cache[Key("a")] = "old"

    def replace() -> None:
        cache.clear()
        cache[Key("a")] = "new"

    Key.act = replace
    assert cache[Key("a")] == "new"
    Key.act = cache.clear
    assert cache.get(Key("a"), "gone") == "gone"


def test_eq_stores_the_key_that_is_being_stored(kind: Kind) -> None:
    """The key must not be stored twice."""
    cache = kind.make(10)
    cache[Key("other")] = 0
    Key.act = lambda: cache.__setitem__(Key("a"), "inner")
    cache[Key("a")] = "outer"
    assert [(key.name, value) for key, value in cache.items()] == [("other", 0), ("a", "outer")]
    cache.clear()
    cache[Key("other")] = 0
    Key.act = lambda: cache.__setitem__(Key("a"), "inner")
    assert cache.setdefault(Key("a"), "outer") == "inner"
    check(cache)


def test_eq_frees_the_stored_key(kind: Kind) -> None:
    """The compared key stays alive, although the cache drops it during the comparison."""
    cache = kind.make(10)
    for _ in range(50):
        cache[Key("a")] = "value"
        Key.act = cache.clear
        assert cache.get(Key("a")) is None


def test_finalisers_use_the_cache(kind: Kind) -> None:
    cache = kind.make(3)
    calls: list[str] = []

    def act() -> None:
        calls.append("")
        cache["from finaliser"] = 1
        cache.get("x")
        cache.pop("y", None)
        check(cache)

    cache["x"] = Finalised(act)
    cache["x"] = 0
    assert len(calls) == 1
    cache["x"] = Finalised(act)
    del cache["x"]
    assert len(calls) == 2
    cache["x"] = Finalised(act)
    cache.pop("x")
    assert len(calls) == 3
    cache["x"] = Finalised(act)
    cache.clear()
    assert len(calls) == 4
    cache["x"] = Finalised(act)
    for number in range(4):
        cache[number] = number
    assert len(calls) == 5
    cache["x"] = Finalised(act)
    while cache:
        cache.popitem()
        if calls.count("") > 5:
            cache.clear()
    assert len(calls) == 6
    check(cache)


def test_finalisers_run_after_the_change(kind: Kind) -> None:
    seen: list[list[Any]] = []
    cache = kind.make(10, lambda value: 8 if value == "large" else 1)
    for number in range(10):
        cache[number] = Finalised(lambda: seen.append(list(cache)))
    cache["large"] = "large"
    assert len(seen) == 8
    assert all(keys == [8, 9, "large"] for keys in seen)
    check(cache)
    cache.clear()
    assert seen[8:] == [[], []]


def test_many_expire_at_once() -> None:
    now = [0.0]
    cache: TTLCache[int, Any] = TTLCache(100, 5, lambda: now[0])
    seen: list[int] = []
    for number in range(100):
        cache[number] = Finalised(lambda: seen.append(cache.stats().entries))
    now[0] = 5.0
    cache[0] = None
    assert seen == [1] * 100
    assert cache.stats().expirations == 100
    check(cache)


def test_getsizeof_uses_the_cache(kind: Kind) -> None:
    def measure(value: int) -> int:
        if value == 3:
            cache.clear()
            cache["inner"] = 1
        if value == 4:
            raise Broken
        return value

    cache = kind.make(5, measure)
    cache.update({1: 1, 2: 2})
    cache["outer"] = 3
    assert dict(cache) == {"inner": 1, "outer": 3}
    uses: list[Callable[[], object]] = [
        lambda: cache.__setitem__(1, 4),
        lambda: cache.setdefault(1, 4),
    ]
    for use in uses:
        with pytest.raises(Broken):
            use()
    assert dict(cache) == {"inner": 1, "outer": 3}


def test_getsizeof_stores_the_key_of_setdefault(kind: Kind) -> None:
    def measure(value: int) -> int:
        if value == 2:
            cache["key"] = 1
        return 1

    cache = kind.make(5, measure)
    assert cache.setdefault("key", 2) == 1
    assert dict(cache) == {"key": 1}


def test_getsizeof_returns_no_number(kind: Kind) -> None:
    cache = kind.make(5, lambda value: value)
    for size in ("1", None, 1j):
        with pytest.raises(TypeError):
            cache[1] = size
    assert len(cache) == 0


def test_timer_uses_the_cache() -> None:
    def timer() -> float:
        if armed:
            armed.pop()
            cache.clear()
            cache["inner"] = 1
        return 0.0

    armed: list[int] = []
    cache: TTLCache[str, int] = TTLCache(5, 5, timer)
    for use in USES:
        cache["outer"] = 0
        armed.append(1)
        with suppress(KeyError):
            use(cache, "outer")
        check(cache)
    cache.clear()
    cache["outer"] = 0
    armed.append(1)
    assert list(iter(cache)) == ["inner"]


def test_missing_clears_and_raises(kind: Kind) -> None:
    class Computing(kind.base):  # type: ignore[misc, name-defined]
        def __missing__(self, key: object) -> object:
            self.clear()
            raise Broken

    cache = kind.make(3, subclass=Computing)
    cache[1] = 1
    with pytest.raises(Broken):
        cache[2]
    check(cache)


def test_overrides_that_empty_the_cache(kind: Kind) -> None:
    class Greedy(kind.base):  # type: ignore[misc, name-defined]
        def popitem(self) -> Any:
            item = super().popitem()
            self.clear()
            return item

    cache = kind.make(3, subclass=Greedy)
    for number in range(10):
        cache[number] = number
        check_count = len(cache)
        assert 1 <= check_count <= 3


def test_eq_switches_threads(kind: Kind) -> None:
    """Other threads change the cache while one thread is in the middle of a comparison."""

    class Slow:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return self.number % 4

        def __eq__(self, other: object) -> bool:
            time.sleep(0)
            return isinstance(other, Slow) and self.number == other.number

    cache = kind.make(16)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(1_500):
                number = rng.randrange(30)
                choice = rng.randrange(6)
                if choice < 3:
                    cache[Slow(number)] = number
                elif choice == 3:
                    assert cache.get(Slow(number), number) == number
                elif choice == 4:
                    cache.pop(Slow(number), None)
                else:
                    assert cache.setdefault(Slow(number), number) == number
        except BaseException as error:
            errors.append(error)
            raise

    with switching_every(1e-6):
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    numbers = [key.number for key in cache]
    assert len(numbers) == len(set(numbers)) == len(cache) <= 16
    check(cache)
