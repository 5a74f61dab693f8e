"""The classes with a common contract: cachetools' and fastcache's, with and without expiry."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cachetools

import fastcache
from tests.support.fastcache.fake_clock import Clock


@dataclass(frozen=True)
class Kind:
    """A cache class, and how to create an instance of it or of a subclass.

    The caches are `Any`: the tests call methods that subclasses of both libraries override.
    """

    base: Any
    timed: bool

    def make(
        self,
        maxsize: float,
        getsizeof: Callable[[Any], float] | None = None,
        *,
        ttl: float = math.inf,
        clock: Clock | None = None,
        subclass: Any = None,
    ) -> Any:
        """A cache without expiry, unless a ttl is given."""
        cls = subclass or self.base
        if self.timed:
            return cls(maxsize, ttl, clock or Clock(), getsizeof)
        return cls(maxsize, getsizeof)

    def __str__(self) -> str:
        return f"{self.base.__module__.partition('.')[0]}.{self.base.__name__}"


def check(cache: Any) -> None:
    """Assert that the parts of a cache are consistent."""
    keys = list(cache)
    assert len(keys) == len(cache) == len(set(map(id, keys)))
    assert len(cache) <= cache.maxsize
    assert cache.currsize == sum(cache.getsizeof(value) for value in cache.values())
    assert cache.stats().entries == len(cache)
    drained = copy.copy(cache)
    popped = [drained.popitem() for _ in range(len(drained))]
    assert sorted(map(id, keys)) == sorted(id(key) for key, _ in popped)
    assert not list(drained)


def pickled(cache: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    """The cache after pickling and unpickling."""
    return pickle.loads(pickle.dumps(cache, protocol))  # noqa: S301


TIMED_KINDS = [Kind(cachetools.TTLCache, True), Kind(fastcache.TTLCache, True)]
KINDS = [Kind(cachetools.LRUCache, False), Kind(fastcache.LRUCache, False), *TIMED_KINDS]
FAST_KINDS = [Kind(fastcache.LRUCache, False), Kind(fastcache.TTLCache, True)]
