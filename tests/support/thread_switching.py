"""Threads that take turns more often than usual, so that more of their interleavings come about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def switching_every(seconds: float) -> Iterator[None]:
    """Have threads take turns at this interval for the time of a block.

    A coverage build keeps the interval of its own, see fastcache/_shard.pyx.
    """
    before = sys.getswitchinterval()
    if sys.gettrace() is None:
        sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
