"""The upkeep of what is shared: a thread in each worker that replays, and writes counts down."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from app.auth.flush import Flush
from app.auth.replay import Replay
from app.errors import StoreError

TICK = 0.5
"""Seconds between two looks at the log: the promise is one second."""

_REPLAYING = "invalidations cannot be replayed"
_REPORTING = "the caches cannot be measured"
_FLUSHING = "the use counts cannot be written down"

log = logging.getLogger("latchkey")


class Upkeep:
    """Runs the replay, the flush and the report until it is stopped; it outlives their failures."""

    def __init__(self, replay: Replay, flush: Flush, report: Callable[[], None]) -> None:
        """``report`` shows the metrics of the worker's own caches to the others."""
        self._replay = replay
        self._flush = flush
        self._report = report
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing: set[str] = set()

    def start(self) -> None:
        """Catch up with the log, then start the thread; in a worker, after the fork."""
        self._attempt(_REPLAYING, self._replay.run)
        self._thread = threading.Thread(target=self._run, name="latchkey-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and write down what is counted by now; for the worker's end."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._attempt(_FLUSHING, self._flush.run)

    def tick(self) -> None:
        """Do what is to be done now. A failure is logged once, and tried again at the next."""
        self._attempt(_REPLAYING, self._replay.run)
        self._attempt(_FLUSHING, self._flush.run_if_due)
        self._attempt(_REPORTING, self._report)

    def _run(self) -> None:
        while not self._stopping.wait(TICK):
            self.tick()

    def _attempt(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except StoreError as error:
            if what not in self._failing:
                self._failing.add(what)
                log.error("%s, which is tried again: %s", what, error.detail)
        except Exception:
            # The thread must not end of anything: nobody would notice, and nobody replay.
            if what not in self._failing:
                self._failing.add(what)
                log.exception("%s, which is tried again", what)
        else:
            self._failing.discard(what)
