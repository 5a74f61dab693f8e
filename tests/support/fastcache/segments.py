"""The regions of the segments that tests create."""

from __future__ import annotations

import mmap

from fastcache.shared import Counters, Region, Segment

PAGE = mmap.PAGESIZE
REGIONS = {"words": Region(100), "rows": Region(2 * PAGE, 64 * PAGE)}


def words_of(segment: Segment) -> Counters:
    return Counters(["a", "b"], memory=segment.memory("words"))
