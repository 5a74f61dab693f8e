"""Statistics of caches and of a cached function."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("CacheInfo", "CacheStats")


class CacheStats(NamedTuple):
    """The statistics of a cache since it was created, and its number of entries."""

    hits: int
    """Lookups that returned a live item: `cache[key]`, `get`, `setdefault` and `pop`."""
    misses: int
    """Lookups of a missing or expired key."""
    evictions: int
    """Items removed to make room for others."""
    expirations: int
    """Items removed because they had expired."""
    entries: int
    """Entries in the cache, including expired ones that are not yet removed."""


class CacheInfo(NamedTuple):
    """The result of `cache_info`, as in functools.lru_cache."""

    hits: int
    """Calls that were answered from the cache."""
    misses: int
    """Calls that were not, including those that waited for another call's result."""
    maxsize: float | None
    """The limit that was passed to the decorator; None for no limit."""
    currsize: float
    """The sum of the sizes of the cached results; without `getsizeof`, their number."""
