"""State that processes share: a segment of memory, and tables of atomic words in it."""

from __future__ import annotations

from fastcache.shared._bloom import BloomFilter
from fastcache.shared._cache import SharedCache
from fastcache.shared._digest import KeyedDigest
from fastcache.shared._quotas import Quota, QuotaState, QuotaTable
from fastcache.shared._rates import Level, Rate, RateTable, Taken
from fastcache.shared._tallies import Tallies
from fastcache.shared._windows import WindowTable
from fastcache.shared._words import Counters, Stripes
from fastcache.shared.entry import SharedCacheStats, SharedEntry
from fastcache.shared.errors import (
    SegmentError,
    SegmentForbidden,
    SegmentFull,
    SegmentMissing,
    SegmentUnusable,
)
from fastcache.shared.segment import Segment
from fastcache.shared.segment_layout import Region

__all__ = (
    "BloomFilter",
    "Counters",
    "KeyedDigest",
    "Level",
    "Quota",
    "QuotaState",
    "QuotaTable",
    "Rate",
    "RateTable",
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
    "Taken",
    "Tallies",
    "WindowTable",
)
