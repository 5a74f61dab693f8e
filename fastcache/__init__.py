"""A compiled, thread-safe TTL and LRU cache, and what processes share."""

from __future__ import annotations

try:
    from fastcache._bloom import BloomFilter
    from fastcache._cached import Cached, cached
    from fastcache._digest import KeyedDigest
    from fastcache._shared import Counters, Stripes
    from fastcache._shared_cache import SharedCache
    from fastcache._tallies import Tallies
    from fastcache._ttl import LRUCache, TTLCache
    from fastcache._windows import WindowTable
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("fastcache."):
        raise
    raise ImportError(
        f"the compiled module {error.name} is missing: "
        "install the package, or run `python setup.py build_ext --inplace` in its source"
    ) from error

from fastcache._segment import Segment
from fastcache._segment_errors import (
    SegmentError,
    SegmentForbidden,
    SegmentFull,
    SegmentMissing,
    SegmentUnusable,
)
from fastcache._segment_layout import Region
from fastcache._shared_entry import SharedEntry
from fastcache._stats import CacheInfo, CacheStats, SharedCacheStats

__all__ = (
    "BloomFilter",
    "CacheInfo",
    "CacheStats",
    "Cached",
    "Counters",
    "KeyedDigest",
    "LRUCache",
    "Region",
    "Segment",
    "SegmentError",
    "SegmentForbidden",
    "SegmentFull",
    "SegmentMissing",
    "SegmentUnusable",
    "SharedCache",
    "SharedCacheStats",
    "SharedEntry",
    "Stripes",
    "TTLCache",
    "Tallies",
    "WindowTable",
    "cached",
)
