"""The turns of changes: one transaction at a time, also if the process that has its turn stops.

The server ends a transaction that is idle for too long. It has no such limit within a pipeline, nor
after its end if the driver asked for the results once more. Then the others end the connection.
Each process waits for one turn at a time, so one that stops delays the others once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from sqlalchemy import Connection

from latchkey.errors import StoreError

TURN = 0x6C61746368_01
"""The key of the advisory lock by which changes take turns."""

LONGEST_IDLE = 2.5
"""Seconds; longer than a process that runs needs between two statements of a transaction."""

# A process that goes on changes its state with each statement that it sends. Only connections with
# the same name are ended, so no session of an operator.
_END_STOPPED = f"""
SELECT pg_terminate_backend(activity.pid)
  FROM pg_locks AS held JOIN pg_stat_activity AS activity ON activity.pid = held.pid
 WHERE held.locktype = 'advisory' AND held.granted
   AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND held.classid::bigint = {TURN >> 32} AND held.objid::bigint = {TURN & 0xFFFFFFFF}
   AND held.objsubid = 1
   AND activity.application_name = current_setting('application_name')
   AND activity.wait_event = 'ClientRead'
   AND activity.state_change < clock_timestamp() - interval '{LONGEST_IDLE} s'
"""  # noqa: S608 - nothing but constants

log = logging.getLogger("latchkey")


class Turns:
    """The turns of one process, and its waits for them."""

    def __init__(self) -> None:
        self._own = Lock()
        self._lock = Lock()
        self._since: list[float] = []

    @contextmanager
    def alone(self, timeout: float) -> Iterator[float]:
        """Let no other thread wait for a turn, or have one, during the block.

        Yields how many seconds of ``timeout`` are left, at least a tenth of it. Raises StoreError
        if another thread does not end within ``timeout``.
        """
        since = time.monotonic()
        if not self._own.acquire(timeout=timeout):
            raise StoreError("other changes of this process did not end in time")
        try:
            yield max(timeout - (time.monotonic() - since), timeout / 10)
        finally:
            self._own.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Note that a thread waits for its turn during the block."""
        since = time.monotonic()
        with self._lock:
            self._since.append(since)
        try:
            yield
        finally:
            with self._lock:
                self._since.remove(since)

    @property
    def are_late(self) -> bool:
        """Whether a thread has waited longer than an idle process may keep its turn."""
        with self._lock:
            return bool(self._since) and time.monotonic() - min(self._since) > LONGEST_IDLE

    def look_after(self, connection: Connection) -> None:
        """If a thread has waited too long, end a transaction whose process has stopped.

        ``connection`` is in autocommit.
        """
        if self.are_late and connection.exec_driver_sql(_END_STOPPED).all():
            log.warning(
                "a change was ended and rolled back: its process did not go on for %g s, and the "
                "others were waiting for it",
                LONGEST_IDLE,
            )
