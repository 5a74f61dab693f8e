"""What a SharedCache gives for a key."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("SharedEntry",)


class SharedEntry(NamedTuple):
    """A value, and what it was stored with."""

    value: bytes
    ticket: int
    """The generation that it was read under, for the caller to compare."""
    deadline: int
    """Until when it holds, in nanoseconds of time.monotonic_ns."""
