"""The caches of earlier checks: in the worker, and between the workers."""

from __future__ import annotations

import hmac
import threading
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import cachetools

import fastcache
from fastcache.shared import SharedCache
from latchkey.check._entry import DIGEST_AT, RECORD_HEAD, CacheEntry

V = TypeVar("V")
Backend = Literal["fastcache", "cachetools", "none"]

_SHARDS = 8
# The position of the digest in a record, also in one for an unknown key.
_DIGEST = slice(DIGEST_AT, RECORD_HEAD)
_NO_RECORD = bytes(RECORD_HEAD)


@dataclass(frozen=True, slots=True, repr=False)
class Unknown:
    """A derived secret that was not in the store when it was read under ``ticket``.

    The ticket is the generation of the key's own stripe, since an unknown key has no account.
    ``deadline`` is in nanoseconds of CLOCK_MONOTONIC.
    """

    ticket: int
    deadline: int


class Level(Protocol[V]):
    """A bounded cache of one worker. It may hold expired entries; the caller checks them."""

    def get(self, key: str | bytes) -> V | None:
        """The value, or None."""

    def put(self, key: str | bytes, value: V) -> None:
        """Cache the value, and evict the least recently used one if there is no room."""

    def evictions(self) -> int:
        """The number of evictions since the start."""

    def __len__(self) -> int: ...


class CompiledLevel(Generic[V]):
    """A level over ``fastcache.TTLCache``, the default."""

    def __init__(self, maxsize: int, ttl: float) -> None:
        """``ttl`` in seconds."""
        shards = _SHARDS if maxsize >= _SHARDS * 64 else 1
        self.cache: fastcache.TTLCache[str | bytes, V] = fastcache.TTLCache(
            maxsize, ttl, shards=shards
        )
        self.get = self.cache.get

    def put(self, key: str | bytes, value: V) -> None:
        """Cache the value."""
        self.cache[key] = value

    def evictions(self) -> int:
        """The number of evictions since the start."""
        return self.cache.stats().evictions

    def __len__(self) -> int:
        return len(self.cache)


class _CountingTTLCache(cachetools.TTLCache[str | bytes, V]):
    """cachetools' TTLCache with a counter of evictions."""

    evictions = 0

    def popitem(self) -> tuple[str | bytes, V]:
        """Evict the least recently used item."""
        self.evictions += 1
        return super().popitem()


class PlainLevel(Generic[V]):
    """A level over ``cachetools.TTLCache`` with a lock, for comparison."""

    def __init__(self, maxsize: int, ttl: float) -> None:
        """``ttl`` in seconds."""
        self._cache: _CountingTTLCache[V] = _CountingTTLCache(maxsize, ttl)
        self._lock = threading.Lock()

    def get(self, key: str | bytes) -> V | None:
        """The value, or None."""
        with self._lock:
            return self._cache.get(key)

    def put(self, key: str | bytes, value: V) -> None:
        """Cache the value."""
        with self._lock:
            self._cache[key] = value

    def evictions(self) -> int:
        """The number of evictions since the start."""
        return self._cache.evictions

    def __len__(self) -> int:
        with self._lock:
            return len(self._cache)


class NoLevel(Generic[V]):
    """A level that caches nothing: each request causes a SELECT."""

    def get(self, key: str | bytes) -> V | None:
        """Always None."""
        return None

    def put(self, key: str | bytes, value: V) -> None:
        """Discard the value."""

    def evictions(self) -> int:
        """Always 0."""
        return 0

    def __len__(self) -> int:
        return 0


class SharedLevel:
    """The cache between the workers, over ``fastcache.shared.SharedCache``.

    Every slot stores the ticket under which its value was read, and its deadline.
    """

    def __init__(self, cache: SharedCache) -> None:
        self._cache = cache

    def get(self, lookup: str, digest: bytes) -> CacheEntry | None:
        """The entry of the secret that has this digest; the caller compares its ticket."""
        found = self._cache.get(lookup)
        record = _NO_RECORD if found is None else found.value
        if not hmac.compare_digest(record[_DIGEST], digest) or found is None:
            return None
        return CacheEntry.of_record(lookup, record, found.ticket, found.deadline)

    def put(self, lookup: str, entry: CacheEntry) -> None:
        """Offer an entry to the other workers; one that is too large for a slot is not stored."""
        record = entry.record()
        if record is not None:
            self._cache.put(lookup, record, ticket=entry.ticket, deadline=entry.deadline)


def new_level(backend: Backend, maxsize: int, ttl: float) -> Level[V]:
    """A level of the chosen kind; ``ttl`` in seconds."""
    if backend == "fastcache":
        return CompiledLevel(maxsize, ttl)
    if backend == "cachetools":
        return PlainLevel(maxsize, ttl)
    return NoLevel()
