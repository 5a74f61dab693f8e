"""File locks with a timeout."""

from __future__ import annotations

import fcntl
import time

_PAUSE = 0.01


class LockHeld(Exception):
    """Another process or thread held the lock longer than the caller waits."""


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Try to take a flock without waiting; returns whether it was taken."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, patience: float, kind: int = fcntl.LOCK_EX) -> None:
    """Take a flock, waiting at most ``patience`` seconds; raises LockHeld.

    The lock is released with the descriptor, and so at the end of the process.
    """
    until = time.monotonic() + patience
    while not try_lock(descriptor, kind):
        left = until - time.monotonic()
        if left <= 0:
            raise LockHeld
        time.sleep(min(_PAUSE, left))
