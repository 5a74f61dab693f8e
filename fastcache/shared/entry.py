"""What a SharedCache gives for a key, and what it counts."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("SharedCacheStats", "SharedEntry")


class SharedEntry(NamedTuple):
    """A value, and what it was stored with."""

    value: bytes
    ticket: int
    """The generation that it was read under, for the caller to compare."""
    deadline: int
    """Until when it holds, in nanoseconds of time.monotonic_ns."""


class SharedCacheStats(NamedTuple):
    """What all processes did with a SharedCache since it was formatted, and what it holds."""

    hits: int
    """Lookups that found a live value."""
    misses: int
    """Lookups that found none, an expired one, or one that was being changed for too long."""
    retries: int
    """Lookups' further looks at a slot that changed under the first."""
    puts: int
    """Values stored."""
    oversized: int
    """Values not stored, because with their key they are larger than a slot."""
    busy: int
    """Values not stored, because another process was changing the same set."""
    evictions: int
    """Live values that gave way to others."""
    recovered: int
    """Sets emptied because a process died while it changed them."""
    entries: int
    """Live values held now."""
    capacity: int
    """The number of slots."""
