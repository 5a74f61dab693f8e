"""The thread of a worker that polls the log when that is due, or when a notification arrives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from latchkey.box.boot_clock import boot_ns
from latchkey.box.poller import INTERVAL, Poller
from latchkey.box.shared import SharedState, Word
from latchkey.errors import StoreError
from latchkey.store.protocols import BoxStore, Wakeups

_SECOND = 1_000_000_000
# Nanoseconds between two attempts to listen: after a fault, and where notifications do not arrive.
_RETRY = _SECOND
_RETRY_IN_VAIN = 60 * _SECOND

log = logging.getLogger("latchkey")


class LogWatch:
    """Polls for one worker until it is stopped. A failure does not stop it."""

    def __init__(
        self,
        boxes: BoxStore,
        shared: SharedState,
        poller: Poller,
        clock: Callable[[], int] = boot_ns,
    ) -> None:
        """``clock`` gives nanoseconds of CLOCK_BOOTTIME."""
        self._boxes = boxes
        self._words = shared.words
        self._poller = poller
        self._clock = clock
        self._wakeups: Wakeups | None = None
        self._listen_at = 0
        # Warnings that were logged already.
        self._has_reported_failure = False
        self._has_reported_silence = False

    def begin(self, poll: Callable[[], None]) -> None:
        """Call ``poll`` once, in the first worker that starts: it registers the box."""
        if self._poller.takes_turn(self._words.value(Word.POLL_DUE), woken=False):
            poll()

    def run(self, stopping: threading.Event, poll: Callable[[], None]) -> None:
        """Call ``poll`` at each turn of this worker until ``stopping`` is set."""
        try:
            while not stopping.is_set():
                try:
                    self._run_once(stopping, poll)
                except Exception as error:
                    # No exception may end the thread: the box would lose its lease.
                    log.exception("the log of invalidations is not watched for a moment")
                    self._report_failure(StoreError(f"unexpected fault: {type(error).__name__}"))
                    stopping.wait(INTERVAL / _SECOND)
        finally:
            self._stop_listening()

    def _run_once(self, stopping: threading.Event, poll: Callable[[], None]) -> None:
        seen = self._words.value(Word.POLL_DUE)
        woken = self._wait(stopping, seen)
        if not stopping.is_set() and self._poller.takes_turn(seen, woken=woken):
            poll()

    def _wait(self, stopping: threading.Event, due: int) -> bool:
        """Wait until a poll is due; True if a notification arrives earlier."""
        self._listen()
        seconds = min(max(due - self._clock(), 0), INTERVAL) / _SECOND
        if self._wakeups is None:
            stopping.wait(seconds)
            return False
        try:
            return self._wakeups.wait(seconds)
        except StoreError as error:
            self._report_failure(error)
            return False

    def _listen(self) -> None:
        """Open the connection for notifications, unless it is open, or has failed lately."""
        if self._wakeups is not None or self._clock() < self._listen_at:
            return
        self._listen_at = self._clock() + _RETRY
        try:
            self._wakeups = self._boxes.open_wakeups()
            # The start has warned about a pooler.
            is_expected = self._wakeups is not None or self._boxes.is_pooled()
        except StoreError as error:
            self._report_failure(error)
            return
        self._has_reported_failure = False
        if self._wakeups is None:
            self._listen_at = self._clock() + _RETRY_IN_VAIN
        if not is_expected and not self._has_reported_silence:
            self._has_reported_silence = True
            log.warning(
                "notifications of the database do not arrive, probably because of a connection "
                "pooler: changes of other boxes are found by polling only, every 200 ms; to avoid "
                "that, name PostgreSQL itself in LATCHKEY_DATABASE_URL"
            )

    def _report_failure(self, error: StoreError) -> None:
        self._stop_listening()
        if not self._has_reported_failure:
            self._has_reported_failure = True
            log.warning("changes are found by polling until listening succeeds: %s", error.detail)

    def _stop_listening(self) -> None:
        if self._wakeups is not None:
            self._wakeups.close()
            self._wakeups = None
