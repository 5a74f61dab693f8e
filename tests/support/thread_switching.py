"""More frequent thread switches, so that tests cover more interleavings."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def switching_every(seconds: float) -> Iterator[None]:
    """Use this interval for thread switches within a block.

    A coverage build keeps its own interval, see fastcache/_shard.pyx.
    """
    before = sys.getswitchinterval()
    if sys.gettrace() is None:
        sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def let_others_run() -> None:
    """Release the GIL: in a coverage build, a busy thread is not interrupted."""
    time.sleep(1e-5)
