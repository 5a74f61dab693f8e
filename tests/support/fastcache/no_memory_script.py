"""Runs every operation while each single allocation in it fails once; a test runs this.

It is a separate program, because nothing else in the process can allocate memory then.
"""

from __future__ import annotations

import _testcapi  # type: ignore[import-not-found]
from collections.abc import Callable, Iterator
from typing import Any

from fastcache import LRUCache, TTLCache
from tests.support.fastcache.cache_kinds import check

MAKE: list[Callable[[], Any]] = [
    lambda: LRUCache(64),
    lambda: LRUCache(200, lambda value: value),
    lambda: TTLCache(64, 10, lambda: 0.0),
    lambda: TTLCache(64, 10, lambda: 0.0, shards=4),
]


def uses(cache: Any) -> Iterator[Callable[[], object]]:
    """The operations on a cache of up to 64 numbers."""
    some = dict.fromkeys(range(300, 350), 1)
    yield lambda: cache.__setitem__("new", 5)
    yield lambda: cache.__setitem__(3, 5)
    yield lambda: cache.setdefault("new", 5)
    yield lambda: cache.popitem()
    yield lambda: cache.pop(3, None)
    yield lambda: cache.set_many(some)
    yield lambda: list(cache.items())
    yield lambda: cache.__copy__()
    yield lambda: cache.__reduce__()
    yield lambda: cache.get_many([1, 2, 3])
    if isinstance(cache, TTLCache):
        yield lambda: cache.set("new", 1, ttl=1)
        yield lambda: cache.expire(1e6)
    yield lambda: cache.clear()


def failures(make: Callable[[], Any], number: int, entries: int) -> int:
    """How often an operation raised MemoryError, as one allocation after the other failed."""
    seen = 0
    for start in range(1, 50):
        cache = make()
        for key in range(entries):
            cache[key] = 1
        use = list(uses(cache))[number]
        _testcapi.set_nomemory(start, start + 1)
        try:
            use()
        except MemoryError:
            seen += 1
        except KeyError:
            pass
        finally:
            _testcapi.remove_mem_hooks()
        check(cache)
        cache["later"] = 1
        assert cache["later"] == 1
    return seen


def main() -> None:
    """Run all operations, and check that allocations failed at all."""
    seen = 0
    for make in MAKE:
        for entries in (0, 8, 64):
            for number in range(len(list(uses(make())))):
                seen += failures(make, number, entries)
    assert seen > 500, seen


if __name__ == "__main__":
    main()
