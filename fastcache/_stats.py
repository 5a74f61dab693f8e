"""Statistics of caches and of a cached function."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("CacheInfo", "CacheStats")


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
