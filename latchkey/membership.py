"""Joining the other workers of a box from a process of the application's own server."""

from __future__ import annotations

import atexit
import logging
import sys

from fastcache.shared import SegmentError
from latchkey.box.neighbours import differences
from latchkey.box.segment import ServiceSegment
from latchkey.config import Settings
from latchkey.errors import ConfigurationError, StoreError
from latchkey.forks import notify_after_fork
from latchkey.log_limit import LOG_LIMIT, limit_log
from latchkey.parts import Parts
from latchkey.permissions import weaknesses
from latchkey.store.database_urls import database_of
from latchkey.store.protocols import BEHIND_POOLER

log = logging.getLogger("latchkey")


def join_box(settings: Settings) -> Parts:
    """Build the parts of a worker that shares its state with the other workers of the box.

    Raises ConfigurationError if the system is not Linux, if the database does not exist, or if the
    memory cannot be shared.
    """
    if sys.platform != "linux":
        raise ConfigurationError(
            f"Latchkey's workers can share memory only on Linux, not on {sys.platform}; for tests "
            "on this system, use latchkey.testing"
        )
    database_of(settings).require()
    for line in weaknesses(settings):
        log.warning("%s", line)
    segment = ServiceSegment.open(settings)
    parts = Parts.from_settings(settings, shared=segment.for_worker())
    limit_log(log.name)
    try:
        for line in _warnings(parts):
            log.warning("%s", line)
    except ConfigurationError:
        segment.disown()
        raise
    parts.upkeep.start()
    _Membership(parts, segment).begin()
    return parts


def _warnings(parts: Parts) -> list[str]:
    """Warnings about other boxes and about a connection pooler, one line each.

    Raises ConfigurationError.
    """
    lines = differences(parts.store, parts.settings, parts.derivation.ids_newest_first)
    boxes = parts.store.boxes
    try:
        if boxes is not None and boxes.is_pooled():
            lines.append(BEHIND_POOLER)
    except StoreError as error:
        raise ConfigurationError(f"the database cannot be used: {error.detail}") from None
    return lines


class _Membership:
    """The threads and locks of a worker. They end with the process; children do not own them."""

    def __init__(self, parts: Parts, segment: ServiceSegment) -> None:
        self._parts = parts
        self._segment = segment

    def begin(self) -> None:
        notify_after_fork(self)
        atexit.register(self.end)

    def end(self) -> None:
        """Persist the counts, and release the memory."""
        self._parts.upkeep.stop()
        LOG_LIMIT.report(all_of_them=True)
        try:
            self._segment.close()
        except (StoreError, SegmentError) as error:
            log.error("the shared memory is kept for the next start: %s", error)
        self._parts.store.close()

    def after_fork(self) -> None:
        """In a child, leave the threads and locks to the parent."""
        atexit.unregister(self.end)
        self._segment.disown()
