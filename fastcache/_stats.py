"""Statistics of caches and of a cached function."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("CacheInfo", "CacheStats", "SharedCacheStats")


class CacheStats(NamedTuple):
    """What a cache did since it was made, and how many entries it holds."""

    hits: int
    """Lookups that found a live item: `cache[key]`, `get`, `setdefault` and `pop`."""
    misses: int
    """Lookups that found none, or an expired one."""
    evictions: int
    """Items removed to make room for others."""
    expirations: int
    """Items removed because their time was over."""
    entries: int
    """Entries held, with those that have expired and are not yet removed."""


class CacheInfo(NamedTuple):
    """What `cache_info` tells, as that of functools.lru_cache does."""

    hits: int
    """Calls that were answered from the cache."""
    misses: int
    """Calls that were not: those that waited for another's result are among them."""
    maxsize: float | None
    """The limit that the function was decorated with; None for no limit."""
    currsize: float
    """The sum of the sizes of the results held: their number, unless they are measured."""


class SharedCacheStats(NamedTuple):
    """What all processes did with a SharedCache since it was formatted, and what it holds."""

    hits: int
    """Lookups that found a live value."""
    misses: int
    """Lookups that found none, an expired one, or one that was being changed for too long."""
    retries: int
    """Lookups' further looks at a slot that changed under the first."""
    puts: int
    """Values stored."""
    oversized: int
    """Values not stored, because with their key they are larger than a slot."""
    busy: int
    """Values not stored, because another process was changing the same set."""
    evictions: int
    """Live values that gave way to others."""
    recovered: int
    """Sets emptied because a process died while it changed them."""
    entries: int
    """Live values held now."""
    capacity: int
    """The number of slots."""
