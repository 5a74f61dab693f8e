"""Places for changes: how many threads of a process may wait for the database's write lock.

While another process keeps the lock, each change holds a thread until its wait times out. So
changes get only part of the threads; the others stay free for requests that change nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from latchkey.errors import ChangesBusy

STALLED_AFTER = 1.0
"""Seconds for which a change may hold its place before further changes are refused."""


class ChangePlaces:
    """The places of one store. Without a limit, as for a command, a place is always free."""

    def __init__(self, limit: int | None) -> None:
        """``limit`` is how many threads may be in a change at once; None for any number."""
        self._limit = limit
        self._changed = threading.Condition()
        # The time at which each change under way got its place.
        self._taken: list[float] = []

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one change; raises ChangesBusy if changes make no progress."""
        taken = self.take()
        if taken is None:
            raise ChangesBusy
        try:
            yield
        finally:
            self.release(taken)

    def take(self) -> float | None:
        """Wait for a place while changes make progress; None as soon as one takes too long.

        Pass the result to ``release``.
        """
        with self._changed:
            while self._limit is not None and len(self._taken) >= self._limit:
                left = min(self._taken) + STALLED_AFTER - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            taken = time.monotonic()
            self._taken.append(taken)
            return taken

    def release(self, taken: float) -> None:
        """Release a place that ``take`` returned."""
        with self._changed:
            self._taken.remove(taken)
            self._changed.notify()


def places_for(threads: int) -> int:
    """How many of a worker's threads may be in changes at once: half of them, at least one."""
    return max(1, threads // 2)
