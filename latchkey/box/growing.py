"""Regions of a segment that grow when a row is used for the first time."""

from __future__ import annotations

import threading

from fastcache.shared import Segment, SegmentFull

_ROWS_AT_ONCE = 16_384


class GrowingRegions:
    """The regions of ``segment`` with a row per object; without a segment, they cannot grow."""

    def __init__(self, segment: Segment | None) -> None:
        self._segment = segment
        self._growing = threading.Lock()

    def grow(self, region: str, row: int, *, most_rows: int, row_size: int) -> bool:
        """Allocate memory for a row and those that follow; False if no memory is left for it.

        Also False for a row beyond ``most_rows``. ``row_size`` is in bytes.
        """
        if self._segment is None or row >= most_rows:
            return False
        rows = min(most_rows, (row // _ROWS_AT_ONCE + 2) * _ROWS_AT_ONCE)
        with self._growing:
            try:
                self._segment.grow(region, rows * row_size)
            except SegmentFull:
                return False
        return True
