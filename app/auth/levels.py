"""What a worker remembers of earlier checks: the entries, and the caches that can hold them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import cachetools

import fastcache
from app.credentials.models import Principal

V = TypeVar("V")
Backend = Literal["fastcache", "cachetools", "none"]

_SHARDS = 8


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """The outcome of one database read, with all that decides whether it still counts.

    ``ticket`` is the stripe's generation from before the read, ``deadline`` the monotonic time in
    seconds at which the entry ends, ``digest`` the keyed digest of the right secret,
    ``expires_at`` wall-clock seconds since 1970 (infinity for no expiry).
    """

    ticket: int
    deadline: float
    digest: bytes
    principal: Principal
    revoked: bool
    expires_at: float


@dataclass(frozen=True, slots=True, repr=False)
class Unknown:
    """A derived secret that the store did not know when it was asked under ``ticket``."""

    ticket: int
    deadline: float


class Level(Protocol[V]):
    """A bounded cache of one worker. Entries that ran out may stay; the caller checks them."""

    def get(self, key: str | bytes) -> V | None:
        """The value, or None."""

    def put(self, key: str | bytes, value: V) -> None:
        """Remember the value, in place of the least recently used one if there is no room."""

    def evictions(self) -> int:
        """How many entries made room for others, since the start."""

    def __len__(self) -> int: ...


class CompiledLevel(Generic[V]):
    """A level over ``fastcache.TTLCache``, the default."""

    def __init__(self, maxsize: int, ttl: float) -> None:
        """``ttl`` in seconds."""
        shards = _SHARDS if maxsize >= _SHARDS * 64 else 1
        self._cache: fastcache.TTLCache[str | bytes, V] = fastcache.TTLCache(
            maxsize, ttl, shards=shards
        )
        self.get = self._cache.get

    def put(self, key: str | bytes, value: V) -> None:
        """Remember the value."""
        self._cache[key] = value

    def evictions(self) -> int:
        """How many entries made room for others."""
        return self._cache.stats().evictions

    def __len__(self) -> int:
        return len(self._cache)


class _CountingTTLCache(cachetools.TTLCache[str | bytes, V]):
    """cachetools' cache, counting what it pushes out."""

    evictions = 0

    def popitem(self) -> tuple[str | bytes, V]:
        """Evict the least recently used item."""
        self.evictions += 1
        return super().popitem()


class PlainLevel(Generic[V]):
    """A level over ``cachetools.TTLCache`` with a lock: the yardstick under load."""

    def __init__(self, maxsize: int, ttl: float) -> None:
        """``ttl`` in seconds."""
        self._cache: _CountingTTLCache[V] = _CountingTTLCache(maxsize, ttl)
        self._lock = threading.Lock()

    def get(self, key: str | bytes) -> V | None:
        """The value, or None."""
        with self._lock:
            return self._cache.get(key)

    def put(self, key: str | bytes, value: V) -> None:
        """Remember the value."""
        with self._lock:
            self._cache[key] = value

    def evictions(self) -> int:
        """How many entries made room for others."""
        return self._cache.evictions

    def __len__(self) -> int:
        with self._lock:
            return len(self._cache)


class NoLevel(Generic[V]):
    """A level that remembers nothing: a SELECT for each request."""

    def get(self, key: str | bytes) -> V | None:
        """Always None."""
        return None

    def put(self, key: str | bytes, value: V) -> None:
        """Forget the value at once."""

    def evictions(self) -> int:
        """Always 0."""
        return 0

    def __len__(self) -> int:
        return 0


def new_level(backend: Backend, maxsize: int, ttl: float) -> Level[V]:
    """A level of the chosen kind; ``ttl`` in seconds."""
    if backend == "fastcache":
        return CompiledLevel(maxsize, ttl)
    if backend == "cachetools":
        return PlainLevel(maxsize, ttl)
    return NoLevel()
