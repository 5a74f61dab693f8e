"""Removing segments of earlier services that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

from fastcache.shared import Segment, SegmentError, SegmentUnusable


def discarded(path: str, error: SegmentError) -> bool:
    """Remove an unreadable segment of this user, such as one of another version."""
    if not isinstance(error, SegmentUnusable):
        return False
    if not Path(path).name.startswith(f"latchkey-{os.geteuid()}-"):
        return False
    try:
        return Segment.discard(path)
    except SegmentError:
        return False
