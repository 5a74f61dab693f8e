"""Persisting use counts: each flush is made by the first worker that finds it due.

Counting never waits for a flush. A worker that is killed or stopped during a flush leaves a
complete transaction or none, and delays the next flush by at most one interval.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from latchkey.box.shared import SharedState, Word
from latchkey.box.use_counts import LiveTallies
from latchkey.credentials.times import utc_now
from latchkey.store.protocols import InvalidationLog, UsageStore

INTERVAL = 2.0
"""Seconds between two flushes. If the machine fails, the counts since the last one are lost."""

_LOG_KEPT = timedelta(hours=1)
_HOURS_KEPT = timedelta(days=90)
_PRUNE_INTERVAL = 300.0
_FOLD_INTERVAL = 86_400.0
_RETAIN_INTERVAL = 3_600.0

log = logging.getLogger("latchkey")


class Flush:
    """Persists what a shared state has counted, and removes old rows."""

    def __init__(
        self,
        records: UsageStore,
        invalidations: InvalidationLog,
        shared: SharedState,
        tallies: LiveTallies,
        forget_requests: Callable[[datetime], object] = lambda now: None,
        *,
        retain: Callable[[datetime], None] = lambda now: None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``forget_requests`` deletes the entries of old requests with an idempotency key.

        ``retain`` removes what has expired by a time in UTC.

        ``timer`` is CLOCK_MONOTONIC in seconds, the same in all processes on the machine.
        """
        self._records = records
        self._log = invalidations
        self._shared = shared
        self._tallies = tallies
        self._forget_requests = forget_requests
        self._retain = retain
        self._timer = timer
        self._prune_due = timer() + _PRUNE_INTERVAL
        # The first fold is due with the first pruning: a worker may not live for a whole interval.
        self._fold_due = self._prune_due
        self._retain_due = self._prune_due

    def run_if_due(self) -> None:
        """Flush unless a worker has done so within the interval; raises StoreError."""
        now = round(self._timer() * 1000)
        due = self._shared.words.value(Word.FLUSH_DUE)
        later = now + round(INTERVAL * 1000)
        # A time that no flush can have set is damage, and would postpone all flushes.
        if now < due <= later or not self._shared.words.compare_exchange(
            Word.FLUSH_DUE, due, later
        ):
            return
        self.run()
        if self._timer() >= self._prune_due:
            self._prune_due = self._timer() + _PRUNE_INTERVAL
            replayed = self._shared.words.value(Word.REPLAYED)
            self._log.prune(datetime.now(UTC) - _LOG_KEPT, replayed)
            self._forget_requests(datetime.now(UTC))
        if self._timer() >= self._fold_due:
            self._fold_due = self._timer() + _FOLD_INTERVAL
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            self._records.fold(midnight - _HOURS_KEPT)
        if self._timer() >= self._retain_due:
            self._retain_due = self._timer() + _RETAIN_INTERVAL
            self._retain(utc_now())

    def run(self) -> None:
        """Persist all counts now; raises StoreError."""
        tallies = self._tallies.unwritten()
        if not tallies:
            return
        segment = self._tallies.segment
        if not self._records.flush(segment, tallies, datetime.now(UTC)):
            log.warning(
                "this box was cut off for more than a day: the uses that it had not written before "
                "are not counted"
            )
            self._tallies.forget_written()
            tallies = self._tallies.unwritten()
            self._records.resume(segment, tallies)
        self._tallies.written(tallies)
