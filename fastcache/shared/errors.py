"""Errors of segments of shared memory: a base class, and a class for each remedy."""

from __future__ import annotations

__all__ = (
    "SegmentError",
    "SegmentForbidden",
    "SegmentFull",
    "SegmentMissing",
    "SegmentUnusable",
)


class SegmentError(Exception):
    """A segment cannot be created, attached or grown; the message gives the reason and a remedy."""


class SegmentMissing(SegmentError):
    """There is no segment of that name, or no directory to create it in."""


class SegmentUnusable(SegmentError):
    """Another file has the name: truncated, damaged, foreign, or of another layout or boot."""


class SegmentForbidden(SegmentError):
    """The segment belongs to another user, or this user may not open or create it."""


class SegmentFull(SegmentError):
    """The system has no memory for it, or it has used all the address space that it reserved."""
