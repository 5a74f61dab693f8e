"""Statistics of a cache."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("CacheStats",)


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
