"""What is left of segments that ended: in memory if they cannot be read, and in the database."""

from __future__ import annotations

import os
from pathlib import Path

from fastcache.shared import Segment, SegmentError, SegmentUnusable
from latchkey.box.registration import stop_box
from latchkey.store.protocols import Store


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


def note_end(store: Store, segment: str, box_id: int) -> None:
    """Tell the database that a segment was removed, and its box with it; raises StoreError.

    Only this segment's watermarks are deleted: other boxes may use the database, and their uses
    would be counted twice without theirs.
    """
    stop_box(store, box_id)
    store.usage.forget_segment(segment)
