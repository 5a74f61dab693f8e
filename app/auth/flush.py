"""Writing use counts down: one worker of the box at a time, chosen anew each time.

Counting never waits for it. A worker that is killed or stopped while it writes leaves a whole
transaction or none, and holds up one interval at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from app.auth.shared import SharedState, Word
from app.auth.tallies import LiveTallies
from app.credentials.models import Tally

INTERVAL = 2.0
"""Seconds between two flushes: what the loss of the machine can cost."""

_KEPT = timedelta(hours=1)
_PRUNE_INTERVAL = 300.0


class UsageRecords(Protocol):
    """Where use is written down; it may raise StoreError."""

    def flush(self, segment: str, tallies: Sequence[Tally], now: datetime) -> None:
        """Write down what a segment has counted beyond what is written already."""


class PrunableLog(Protocol):
    """The log of invalidations, as whoever shortens it sees it; it may raise StoreError."""

    def prune(self, before: datetime, below: int) -> int:
        """Delete rows older than ``before`` with numbers below ``below``."""


class Flush:
    """Writes down what a shared state has counted, and shortens the log of invalidations."""

    def __init__(
        self,
        records: UsageRecords,
        invalidations: PrunableLog,
        shared: SharedState,
        tallies: LiveTallies,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timer`` is CLOCK_MONOTONIC in seconds: every process of a box reads the same."""
        self._records = records
        self._log = invalidations
        self._shared = shared
        self._tallies = tallies
        self._timer = timer
        self._pruned_at = timer()

    def run_if_due(self) -> None:
        """Flush if nobody has within the interval; raises StoreError."""
        now = round(self._timer() * 1000)
        due = self._shared.words.value(Word.FLUSH_DUE)
        later = now + round(INTERVAL * 1000)
        if now < due or not self._shared.words.compare_exchange(Word.FLUSH_DUE, due, later):
            return
        self.run()
        if self._timer() - self._pruned_at >= _PRUNE_INTERVAL:
            self._pruned_at = self._timer()
            self._log.prune(datetime.now(UTC) - _KEPT, self._shared.words.value(Word.REPLAYED))

    def run(self) -> None:
        """Write down everything that is counted by now; raises StoreError."""
        tallies = self._tallies.unwritten()
        if tallies:
            self._records.flush(self._tallies.segment, tallies, datetime.now(UTC))
            self._tallies.written(tallies)
