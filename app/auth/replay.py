"""Replaying the log of invalidations: what was committed by somebody who could not say so.

Whoever changes a credential commits, invalidates, and notes the number of its row in the log. A
process that was killed in between, or that reaches only the database, leaves a row without a note.
Every worker looks for such rows twice a second, and invalidates what they name. None waits for
another: a worker that is stopped holds nobody up, and a row replayed twice does no harm.
"""

from __future__ import annotations

import logging
from typing import Protocol

from app.auth.shared import SharedState, Word

log = logging.getLogger("latchkey")


class InvalidationLog(Protocol):
    """What is asked of the store; it may raise StoreError."""

    def after(self, number: int) -> list[tuple[int, str]]:
        """Some rows with numbers above ``number``, as (number, lookup key), the oldest first."""


class Replay:
    """Brings a shared state up to what the log says. The state remembers how far that is."""

    def __init__(self, invalidations: InvalidationLog, shared: SharedState) -> None:
        self._log = invalidations
        self._shared = shared

    def run(self) -> None:
        """Invalidate what the rows name that nobody has noted; raises StoreError."""
        while True:
            seen = self._shared.words.value(Word.REPLAYED)
            # From the last one on that is known: the log keeps it.
            rows = self._log.after(seen - 1) if seen else self._log.after(0)
            if not rows and seen:
                self._start_again(seen)
                continue
            new = [row for row in rows if row[0] > seen]
            if not new:
                return
            for _, lookup in new:
                self._shared.invalidate(lookup)
            self._shared.words.raise_to(Word.REPLAYED, new[-1][0])

    def note(self, number: int) -> None:
        """Note that a row's lookup key has been invalidated.

        Only where that of every row before it has been too: where one is missing, the replay
        finds it, and goes on from there.
        """
        self._shared.words.compare_exchange(Word.REPLAYED, number - 1, number)

    def _start_again(self, seen: int) -> None:
        """The log ends before the last row that was seen: another database is in its place."""
        log.warning("the database was replaced by an older one: everything remembered is checked")
        self._shared.invalidate_all()
        self._shared.words.compare_exchange(Word.REPLAYED, seen, 0)
