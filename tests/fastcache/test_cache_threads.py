"""Threads on one cache: results are never wrong, and the cache stays consistent."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fastcache import LRUCache, TTLCache
from tests.support.thread_switching import switching_every

SECONDS = 0.6
# With a sanitizer on a busy machine, threads do little in that time.
AT_LEAST = 300


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    with switching_every(1e-5):
        yield


def work(cache: Any, seed: int, until: float, errors: list[Exception]) -> None:
    """Run every operation at random; a value always identifies its key."""
    rng = random.Random(seed)
    done = 0
    try:
        while time.monotonic() < until or done < AT_LEAST:
            done += 1
            key = f"key-{rng.randrange(300)}"
            choice = rng.randrange(14)
            if choice < 4:
                assert cache.get(key, key) == key
            elif choice < 7:
                cache[key] = key
            elif choice == 7:
                assert cache.pop(key, key) == key
            elif choice == 8:
                assert cache.setdefault(key, key) == key
            elif choice == 9:
                assert all(key == value for key, value in cache.items())
                assert len(cache) <= cache.maxsize
            elif choice == 10:
                try:
                    popped, value = cache.popitem()
                    assert popped == value
                except KeyError:
                    pass
            elif choice == 11:
                found = cache.get_many([key, "absent", f"key-{rng.randrange(300)}"])
                assert all(key == value for key, value in found.items())
            elif choice == 12:
                items = {name: name for name in (key, f"key-{rng.randrange(300)}")}
                if isinstance(cache, TTLCache):
                    cache.set_many(items, ttl=rng.choice([None, 0.001, 0.01, 60.0]))
                else:
                    cache.set_many(items)
            elif rng.randrange(50) == 0:
                cache.clear()
    except Exception as error:  # noqa: BLE001 - told in the main thread
        errors.append(error)


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("ttl", [None, 0.002])
def test_stress(ttl: float | None, shards: int) -> None:
    lru: Any = LRUCache(100, shards=shards)
    cache = lru if ttl is None else TTLCache(100, ttl, shards=shards)
    errors: list[Exception] = []
    until = time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=work, args=(cache, seed, until, errors)) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stats = cache.stats()
    assert stats.hits > 0 or ttl is not None  # on a slow machine, all may have expired
    assert stats.misses > 0
    keys = list(cache)
    assert len(set(keys)) == len(keys) <= 100
    cache.clear()
    for number in range(1000):
        cache[number] = number
    assert len(cache) <= 100


def test_setdefault_stores_once() -> None:
    cache: LRUCache[int, object] = LRUCache(1000)
    barrier = threading.Barrier(4)
    results: list[list[object]] = [[], [], [], []]

    def race(number: int) -> None:
        barrier.wait()
        results[number] = [cache.setdefault(key, object()) for key in range(500)]

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values in zip(*results, strict=True):
        assert len(set(map(id, values))) == 1


def test_each_item_is_popped_once() -> None:
    cache: LRUCache[int, int] = LRUCache(2000)
    cache.update({number: number for number in range(2000)})
    popped: list[int] = []

    def take() -> None:
        while True:
            try:
                popped.append(cache.popitem()[0])
            except KeyError:
                return

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(popped) == list(range(2000))


class Compared:
    """A key that only Python can compare, which takes some time."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 5

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Compared) and self.number == other.number


@pytest.mark.parametrize("ttl", [None, 0.002])
def test_keys_are_compared_while_other_threads_change_the_table(ttl: float | None) -> None:
    cache: Any = LRUCache(20) if ttl is None else TTLCache(20, ttl)
    until = time.monotonic() + SECONDS
    errors: list[Exception] = []

    def compare(seed: int) -> None:
        rng = random.Random(seed)
        try:
            while time.monotonic() < until:
                number = rng.randrange(40)
                cache[Compared(number)] = number
                assert cache.get(Compared(number), number) == number
                assert cache.pop(Compared(number + 1), number + 1) == number + 1
        except Exception as error:  # noqa: BLE001 - told in the main thread
            errors.append(error)

    run([threading.Thread(target=compare, args=(seed,)) for seed in range(4)])
    assert errors == []
    numbers = [key.number for key in cache]
    assert len(numbers) == len(set(numbers)) <= 20


def test_one_iterator_in_many_threads() -> None:
    cache: LRUCache[int, int] = LRUCache(4000, shards=4)
    cache.update({number: number for number in range(3000)})
    iterator = iter(cache.items())
    seen: list[tuple[int, int]] = []

    def drain() -> None:
        seen.extend(iterator)

    run([threading.Thread(target=drain) for _ in range(4)])
    assert len(seen) == len(set(seen))
    assert all(key == value for key, value in seen)


def test_initialised_again_while_in_use() -> None:
    cache: TTLCache[int, int] = TTLCache(50, 60.0)
    until = time.monotonic() + SECONDS / 2

    def use(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until:
            number = rng.randrange(80)
            cache[number] = number
            assert cache.get(number, number) == number

    def initialise_again() -> None:
        while time.monotonic() < until:
            cache.__init__(50, 60.0, shards=4)  # type: ignore[misc]
            time.sleep(0.001)

    using = [threading.Thread(target=use, args=(1,))]
    run(using + [threading.Thread(target=initialise_again) for _ in range(2)])
    assert len(cache) <= 50


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
