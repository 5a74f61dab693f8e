"""Uses caches in every way, again and again, and fails if memory or objects add up."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastcache import Counters, LRUCache, Stripes, TTLCache

ROUNDS = 12
SETTLED = 4
ALLOWED_BYTES = 4096


class Value:
    """Counts its living instances."""

    alive = 0

    def __init__(self) -> None:
        Value.alive += 1

    def __del__(self) -> None:
        Value.alive -= 1


class BadKey:
    """A key whose equality raises."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


class Computing(LRUCache[Any, Any]):
    """A subclass that stores what is missing, and sees evictions."""

    def __missing__(self, key: Any) -> Any:
        self[key] = value = Value()
        return value

    def popitem(self) -> tuple[Any, Any]:
        return super().popitem()


def use(cache: Any) -> None:
    """Every operation, those that fail included."""
    for number in range(300):
        cache[f"key {number}"] = Value()
        cache.get(f"key {number // 2}")
        cache.setdefault(number, Value())
        cache.pop(f"key {number // 3}", None)
    failing: list[Callable[[], object]] = [
        lambda: cache.pop("absent"),
        lambda: cache.__delitem__("absent"),
        lambda: cache.__setitem__([], Value()),
        lambda: cache[BadKey()],
    ]
    for fails in failing:
        cache[7] = Value()
        with suppress(KeyError, TypeError, RuntimeError):
            fails()
    iterator = iter(cache.items())
    next(iterator)
    copy.copy(cache).popitem()
    list(cache), list(cache.values()), repr(cache), cache.stats(), cache.currsize
    cache["itself"] = cache
    cache.__init__(*([5, 60.0] if isinstance(cache, TTLCache) else [5]))
    cache["itself"] = cache


def one_round() -> None:
    """Everything once."""
    now = [0.0]
    use(LRUCache(100))
    use(LRUCache(100, lambda value: 2))
    use(Computing(100))
    use(TTLCache(100, 60.0, shards=4))
    timed: TTLCache[int, Value] = TTLCache(100, 5.0, lambda: now[0])
    for number in range(100):
        timed[number] = Value()
    now[0] = 5.0
    assert len(timed.expire()) == 100
    texts: LRUCache[str, str] = LRUCache(100)
    texts.update({str(number): "x" * number for number in range(100)})
    pickle.loads(pickle.dumps(texts))  # noqa: S301
    stripes = Stripes(64, memory=bytearray(512))
    stripes.invalidate("kéy")
    stripes.generation(b"key")
    with suppress(ValueError):
        Stripes(64, memory=bytearray(8))
    Counters(["a", "b"]).snapshot()


def main() -> None:
    """Compare the memory of the last round with that of a settled one."""
    tracemalloc.start()
    settled = 0
    for number in range(ROUNDS):
        one_round()
        gc.collect()
        if Value.alive:
            sys.exit(f"{Value.alive} values are still alive after round {number}")
        if number == SETTLED:
            settled = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - settled
    if grown > ALLOWED_BYTES:
        sys.exit(f"{grown} bytes more after {ROUNDS - 1 - SETTLED} rounds")


if __name__ == "__main__":
    main()
