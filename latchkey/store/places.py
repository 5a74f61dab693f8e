"""Places for changes: how many threads of a process may wait for the database or for other boxes.

While another process keeps the lock of the database, or another box does not confirm a change, each
change holds a thread until its wait ends. So changes get only part of the threads; the others stay
free for requests that change nothing.
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
        # Those of them that are committed, and will be settled.
        self._committed: list[float] = []

    @contextmanager
    def place(self, *, until_settled: bool = False) -> Iterator[None]:
        """A place for one change; raises ChangesBusy if changes make no progress.

        ``until_settled``: if the block succeeds, the place stays taken for ``settling``, which
        follows within a moment.
        """
        taken = self.take()
        if taken is None:
            raise ChangesBusy
        try:
            yield
        except BaseException:
            self.release(taken)
            raise
        if until_settled:
            with self._changed:
                self._committed.append(taken)
        else:
            self.release(taken)

    @contextmanager
    def settling(self, *, is_new: bool = False) -> Iterator[None]:
        """The place of a change that is committed, while it waits for other boxes.

        ``is_new``: the thread has no place yet, and gets one; raises ChangesBusy as ``place`` does.
        """
        if is_new:
            with self.place():
                yield
            return
        with self._changed:
            if self._committed:
                taken = self._committed.pop(0)
            else:
                taken = time.monotonic()
                self._taken.append(taken)
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
                if self._drop_unsettled():
                    continue
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

    def _drop_unsettled(self) -> bool:
        """Release the place of a change that was not settled: its thread has failed."""
        if not self._committed or time.monotonic() < self._committed[0] + 2 * STALLED_AFTER:
            return False
        self._taken.remove(self._committed.pop(0))
        return True


def places_for(threads: int) -> int:
    """How many of a worker's threads may be in changes at once: half of them, at least one."""
    return max(1, threads // 2)
