"""Threads in each worker that replay invalidations and persist use counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from latchkey.box.flush import Flush
from latchkey.box.log_watch import LogWatch
from latchkey.errors import StoreError

REPLAY_TICK = 0.2
"""Seconds between two reads of the log: the promise is one second, on a busy machine too."""
TICK = 0.5
"""Seconds between two checks of the other periodic tasks."""

_REPLAYING = "invalidations cannot be replayed"
_WATCHING = "the database has a fault"
_LEARNING = "the imported tokens cannot be read"
_REPORTING = "the caches cannot be measured"
_FLUSHING = "the use counts cannot be persisted"

log = logging.getLogger("latchkey")


class LogReader(Protocol):
    """Applies the log of invalidations."""

    def run(self) -> None:
        """Apply all rows that are not applied yet; raises StoreError."""


class Upkeep:
    """Runs the replay, the flush and the report until it is stopped. Failures do not stop it."""

    def __init__(
        self,
        replay: LogReader,
        flush: Flush,
        report: Callable[[], None],
        learn_imported: Callable[[], None] = lambda: None,
        look_after: Callable[[], None] = lambda: None,
        watch: LogWatch | None = None,
    ) -> None:
        """``report`` publishes the metrics of the worker's own caches.

        ``learn_imported`` loads the imported tokens if they are not known yet. ``look_after``
        monitors the database, and finishes what changes had to postpone. ``watch`` decides when to
        read the log if several boxes share the database; None reads it at each tick.
        """
        self._replay = replay
        self._flush = flush
        self._report = report
        self._learn_imported = learn_imported
        self._look_after = look_after
        self._watch = watch
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failing: set[str] = set()

    def start(self) -> None:
        """Replay the log once, then start the threads; call it in a worker, after the fork."""
        # Separate threads: a flush may wait for the database longer than the replay promises.
        if self._watch is None:
            self.replay()
            self._begin(self._repeat, REPLAY_TICK, self.replay)
        else:
            self._watch.begin(self._read_log)
            self._watch_store()
            self._begin(self._watch.run, self._stopping, self._read_log)
            self._begin(self._repeat, REPLAY_TICK, self._watch_store)
        self._begin(self._repeat, TICK, self.tidy)

    def stop(self) -> None:
        """Stop the threads and persist the current counts, before the worker exits."""
        self._stopping.set()
        while self._threads:
            self._threads.pop().join()
        self._attempt(_FLUSHING, self._flush.run)

    def replay(self) -> None:
        """Replay the log now. A failure is logged once, and the next tick retries."""
        self._read_log()
        self._watch_store()

    def _read_log(self) -> None:
        self._attempt(_REPLAYING, self._replay.run)

    def _watch_store(self) -> None:
        self._attempt(_LEARNING, self._learn_imported)
        self._attempt(_WATCHING, self._look_after)

    def tidy(self) -> None:
        """Flush if that is due, and report. Failures are handled as in ``replay``."""
        self._attempt(_FLUSHING, self._flush.run_if_due)
        self._attempt(_REPORTING, self._report)

    def _begin(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="latchkey-upkeep", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _repeat(self, tick: float, action: Callable[[], None]) -> None:
        while not self._stopping.wait(tick):
            action()

    def _attempt(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except StoreError as error:
            if what not in self._failing:
                self._failing.add(what)
                log.error("%s; it will be retried: %s", what, error.detail)
        except Exception:
            # No exception may end the thread: invalidations would silently stop being replayed.
            if what not in self._failing:
                self._failing.add(what)
                log.exception("%s; it will be retried", what)
        else:
            self._failing.discard(what)
