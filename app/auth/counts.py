"""What authentication counts, by name. Cumulative since the worker's start."""

from __future__ import annotations

from enum import IntEnum, auto

from fastcache import Counters


class Count(IntEnum):
    """The index of each counter in the worker's ``Counters``."""

    AUTHENTICATED = 0
    OPEN = auto()
    MISSING = auto()
    INVALID = auto()
    REVOKED = auto()
    EXPIRED = auto()
    AMBIGUOUS = auto()
    RATE_LIMITED = auto()
    FAILED = auto()
    CACHE_HIT = auto()
    CACHE_MISS = auto()
    UNKNOWN_HIT = auto()
    STORE_SELECT = auto()
    STORE_ERROR = auto()
    FORGED = auto()


def new_counters() -> Counters:
    """A fresh block of counters, one for each ``Count``."""
    return Counters([count.name.lower() for count in Count])
