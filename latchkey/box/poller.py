"""Polling the log of the changes that other boxes have made, and confirming them.

Every worker polls, and they take turns by one word of shared memory, so a stopped worker costs one
interval. Between any two steps of a poll a worker may be stopped, and others may poll, register the
box anew, or die.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence

from latchkey.box.boot_clock import boot_ns
from latchkey.box.leases import MILLISECOND, Applied, box_name, usable
from latchkey.box.registration import Registration
from latchkey.box.shared import SharedState, Word
from latchkey.credentials.models import Invalidation
from latchkey.store.protocols import BoxStore, Confirmation

INTERVAL = 200 * MILLISECOND
"""Nanoseconds between two polls without a notification."""

# Nanoseconds between two times that a worker counts the live boxes.
_COUNT_INTERVAL = 1_000 * MILLISECOND
# Of one turn: registering and long logs take several.
_MOST_POLLS = 100
_WOKEN = 1

# Why a box registers anew, and what to do about it.
_REASONS = {
    Confirmation.FORGOTTEN: "it was not registered any more, because it had been cut off for more "
    "than a day, or the database was restored",
    Confirmation.CUT_OFF: "it was marked as cut off, because a change had waited for it for a "
    "complete lease; if this repeats, check that its workers run and reach the database in time, "
    "or raise LATCHKEY_LEASE",
    Confirmation.REWOUND: "the log of invalidations lacks a row that it has applied, because the "
    "database was restored, a standby was promoted, or the box had been cut off for more than an "
    "hour",
    Confirmation.SHORTER_LEASE: "a process with a shorter LATCHKEY_LEASE had registered it; set "
    "the same LATCHKEY_LEASE for all processes that share its memory",
}

log = logging.getLogger("latchkey")


class Poller:
    """Polls for one worker of a box."""

    batch = 10_000
    """As many rows as ``BoxStore.log_from`` returns at most."""

    def __init__(
        self,
        boxes: BoxStore,
        shared: SharedState,
        registration: Registration,
        clock: Callable[[], int] = boot_ns,
        on_replacement: Callable[[], None] = lambda: None,
        *,
        divides_rates: bool = False,
    ) -> None:
        """``clock`` gives nanoseconds of CLOCK_BOOTTIME.

        With ``divides_rates``, the number of live boxes is published, by which rates are divided.

        ``on_replacement`` is called if the log is another one: the database was restored, or a
        standby that lacks some changes was promoted.
        """
        self._boxes = boxes
        self._shared = shared
        self._words = shared.words
        self._registration = registration
        self._usable = usable(registration.lease_ms)
        self._clock = clock
        self._on_replacement = on_replacement
        self._divides_rates = divides_rates
        self._count_due = 0

    def run(self) -> None:
        """Register if necessary, then apply all changes; raises StoreError."""
        for _ in range(_MOST_POLLS):
            if self.poll():
                break
        if self._divides_rates and self._clock() >= self._count_due:
            self._count_due = self._clock() + _COUNT_INTERVAL
            self.count_boxes()

    def count_boxes(self) -> None:
        """Publish the number of live boxes; raises StoreError."""
        number = max(1, len(self._boxes.live()))
        while (known := self._words.value(Word.BOXES)) != number:
            self._words.compare_exchange(Word.BOXES, known, number)

    def poll(self) -> bool:
        """Poll once; whether the end of the log was reached. Raises StoreError."""
        steps = self.steps()
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return bool(stop.value)

    def takes_turn(self, seen: int, *, woken: bool) -> bool:
        """Whether this worker is to poll now.

        ``seen`` is the value of POLL_DUE before it waited. ``woken``: a notification has arrived.
        """
        due = self._words.value(Word.POLL_DUE)
        now = self._clock()
        later = now + INTERVAL
        if woken:
            if due != seen and due & _WOKEN:
                # The same notification has woken another worker, which has polled since.
                return False
            return self._words.compare_exchange(Word.POLL_DUE, due, later | _WOKEN)
        # A time that no worker can have set is damage, and would postpone all polls.
        if now < due <= later | _WOKEN:
            return False
        return self._words.compare_exchange(Word.POLL_DUE, due, later & ~_WOKEN)

    def steps(self) -> Generator[None, None, bool]:
        """One poll, step by step; returns whether it has reached the end of the log."""
        box_id = self._words.value(Word.BOX)
        if not box_id:
            yield from self._registration.steps(0)
            return False
        applied = Applied.read(self._words)
        yield
        sent = self._clock()
        yield
        rows = self._boxes.log_from(applied.number)
        yield
        if not self._continues(rows, applied):
            if self._is_registered_as(box_id) and Applied.read(self._words) == applied:
                yield from self._register_anew(box_id, Confirmation.REWOUND)
            return False
        self._apply([row for row in rows if row.number > applied.number])
        yield
        last = Applied.of(rows[-1] if rows else None)
        confirmation = self._confirm(box_id, last)
        yield
        if not self._is_registered_as(box_id):
            return False
        if confirmation is not Confirmation.MADE:
            yield from self._register_anew(box_id, confirmation)
            return False
        applied.advance(self._words, last)
        yield
        self._words.raise_to(Word.REPLAYED, last.number)
        if not self._reaches_end(rows):
            return False
        self._renew(sent)
        return True

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        """Whether the log still has the row that was applied last, unchanged.

        After an empty log, all rows are new: nothing that was applied can be missing.
        """
        return not applied.number or Applied.of(rows[0] if rows else None) == applied

    def _apply(self, rows: Sequence[Invalidation]) -> None:
        for row in rows:
            self._shared.invalidate(row.lookup)

    def _confirm(self, box_id: int, last: Applied) -> Confirmation:
        """Commit that this box has applied the log up to a row; returns whether that counts.

        For example, the log may have been rewound since the row was read, or another service that
        shares the memory may have registered a shorter lease.
        """
        lease_ms = self._registration.lease_ms
        return self._boxes.confirm(box_name(box_id), last.number, last.nonce, lease_ms)

    def _register_anew(self, box_id: int, reason: Confirmation) -> Generator[None, None, None]:
        """Register under another id, and log the reason, unless another worker was faster."""
        if reason is Confirmation.REWOUND:
            self._on_replacement()
        if (yield from self._registration.steps(box_id)):
            log.warning(
                "this box has invalidated all cached entries and registered anew: %s",
                _REASONS[reason],
            )

    def _reaches_end(self, rows: Sequence[Invalidation]) -> bool:
        return len(rows) < self.batch

    def _renew(self, sent: int) -> None:
        """Extend the lease, from the time when the poll was sent."""
        self._words.raise_to(Word.FRESH_UNTIL, sent + self._usable)

    def _is_registered_as(self, box_id: int) -> bool:
        return self._words.value(Word.BOX) == box_id
