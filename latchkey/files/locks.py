"""Locks on files, each waited for during a bounded time."""

from __future__ import annotations

import fcntl
import time

_PAUSE = 0.01


class LockHeld(Exception):
    """Another process, or another thread, held the lock for longer than the caller waits."""


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take a flock if nobody else holds one that excludes it; whether it was taken."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, patience: float, kind: int = fcntl.LOCK_EX) -> None:
    """Take a flock, waiting at most ``patience`` seconds; raises LockHeld.

    It ends with the descriptor, and so with the process.
    """
    until = time.monotonic() + patience
    while not try_lock(descriptor, kind):
        left = until - time.monotonic()
        if left <= 0:
            raise LockHeld
        time.sleep(min(_PAUSE, left))
