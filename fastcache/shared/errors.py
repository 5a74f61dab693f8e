"""Why a segment of shared memory cannot be had: one error, and a kind for each way out."""

from __future__ import annotations

__all__ = (
    "SegmentError",
    "SegmentForbidden",
    "SegmentFull",
    "SegmentMissing",
    "SegmentUnusable",
)


class SegmentError(Exception):
    """A segment cannot be made, attached or grown; the message says why and what to do."""


class SegmentMissing(SegmentError):
    """There is no segment of that name, or no directory to make it in."""


class SegmentUnusable(SegmentError):
    """There is something else: truncated, damaged, foreign, or of another layout or boot."""


class SegmentForbidden(SegmentError):
    """It belongs to another user, or this one may not open or make it."""


class SegmentFull(SegmentError):
    """The system has no room for it, or it has grown to all the room it reserved."""
