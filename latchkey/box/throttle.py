"""Throttles refused credentials by the caller's address. A valid key is never throttled.

All workers count together, in fixed windows that start at the same time in every worker.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache
from wsgiref.types import WSGIEnvironment

from fastcache.shared import KeyedDigest, WindowTable
from latchkey.addresses import ClientAddresses
from latchkey.errors import TooManyFailures

LARGEST_LIMIT = 999_999
"""The largest count that a limit can have: what a slot of the table can store."""

_LIMIT = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


class WindowLimit:
    """A limit on events per window of time, counted by name.

    Names are hashed with a secret key, so that callers cannot choose names that share a place in
    the table.
    """

    def __init__(
        self,
        limit: str,
        table: WindowTable,
        digest: KeyedDigest,
        timer: Callable[[], float] = time.monotonic,
        *,
        times: int = 1,
    ) -> None:
        """``limit`` is ``COUNT/second``, ``/minute``, ``/hour`` or ``/day``, or ``off``.

        COUNT is at most LARGEST_LIMIT; anything else raises ValueError. ``times`` multiplies the
        limit. ``timer`` gives seconds that are the same in all processes.
        """
        self._limit = self._window = 0
        if limit != "off":
            written = _LIMIT.fullmatch(limit)
            if written is None:
                raise ValueError(
                    f"a limit must be COUNT/second, /minute, /hour or /day, not {limit!r}"
                )
            self._limit = min(int(written[1]) * times, LARGEST_LIMIT)
            self._window = _SECONDS[written[2]]
        self._table = table
        self._digest = digest
        self._timer = timer

    def count(self, name: str) -> None:
        """Count one event of this name; raises TooManyFailures if that exceeds the limit."""
        self.count_at(self.place_of(name))

    def place_of(self, name: str) -> int:
        """The place in the table where events of this name are counted."""
        return int.from_bytes(self._digest.digest(_encoded(name))[:8])

    def count_at(self, place: int) -> None:
        """``count`` for a place that ``place_of`` returned."""
        if not self._limit:
            return
        window, elapsed = divmod(int(self._timer()), self._window)
        if self._table.hit(place, window, self._limit) > self._limit:
            raise TooManyFailures(self._window - elapsed)


class FailureThrottle:
    """Counts failures by address, and reports when an address exceeds the limit."""

    def __init__(
        self,
        limit: str,
        table: WindowTable,
        digest: KeyedDigest,
        addresses: ClientAddresses | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """As in WindowLimit; ``addresses`` identifies callers, and None trusts no proxy."""
        by_address = WindowLimit(limit, table, digest, timer)
        self._count_at = by_address.count_at
        # Cached: floods come from few addresses.
        self._place_of = lru_cache(maxsize=4_096)(by_address.place_of)
        self._counted = (addresses or ClientAddresses()).counted

    def count_failure(self, environ: WSGIEnvironment) -> None:
        """Count one failure of the caller; raises TooManyFailures if that exceeds the limit."""
        self._count_at(self._place_of(self._counted(environ)))


def _encoded(address: str) -> bytes:
    # The server may report any text as the peer's address.
    return address.encode("utf-8", "surrogatepass")
