"""The result of a lookup in a SharedCache, and its statistics."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("SharedCacheStats", "SharedEntry")


class SharedEntry(NamedTuple):
    """A value, with the ticket and the deadline that it was stored with."""

    value: bytes
    ticket: int
    """The generation under which it was read, for the caller to compare."""
    deadline: int
    """When it expires, in nanoseconds of time.monotonic_ns."""


class SharedCacheStats(NamedTuple):
    """The statistics of all processes since a SharedCache was formatted, and its content."""

    hits: int
    """Lookups that returned a live value."""
    misses: int
    """Lookups without a live value, or of a slot that was being changed for too long."""
    retries: int
    """Repeated reads of a slot that changed during the previous read."""
    puts: int
    """Values stored."""
    oversized: int
    """Values not stored because they are, with their key, larger than a slot."""
    busy: int
    """Values not stored because another process was changing the same set."""
    evictions: int
    """Live values that were evicted."""
    recovered: int
    """Sets that were emptied because a process died while it changed them."""
    entries: int
    """The present number of live values."""
    capacity: int
    """The number of slots."""
