"""Throttling: of refused credentials, by the caller's address. A good key is never held up.

The workers of a box count together, in windows of fixed length that begin for everybody at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache
from wsgiref.types import WSGIEnvironment

from fastcache.shared import KeyedDigest, WindowTable
from latchkey.addresses import ClientAddresses
from latchkey.errors import RateLimited

LARGEST_LIMIT = 999_999
"""The most failures that a window can be told to allow: what a slot of the table can count."""

_LIMIT = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


class WindowLimit:
    """So many in a window of time, and counts of what there was, by anything.

    What is counted by is digested with a key, so that nobody can choose names that share a place
    in the table.
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

        COUNT is LARGEST_LIMIT at most; ValueError for anything else. ``times`` as many are
        allowed. ``timer`` gives seconds that are the same in all processes.
        """
        self._limit = self._window = 0
        if limit != "off":
            written = _LIMIT.fullmatch(limit)
            if written is None:
                raise ValueError(f"a limit is COUNT/second, /minute, /hour or /day, not {limit!r}")
            self._limit = min(int(written[1]) * times, LARGEST_LIMIT)
            self._window = _SECONDS[written[2]]
        self._table = table
        self._digest = digest
        self._timer = timer

    def count(self, name: str) -> None:
        """Count one of this name; raises RateLimited where that was one too many."""
        self.count_at(self.place_of(name))

    def place_of(self, name: str) -> int:
        """Where those of this name are counted."""
        return int.from_bytes(self._digest.digest(_encoded(name))[:8])

    def count_at(self, place: int) -> None:
        """``count``, where the place of the name is known."""
        if not self._limit:
            return
        window, elapsed = divmod(int(self._timer()), self._window)
        if self._table.hit(place, window, self._limit) > self._limit:
            raise RateLimited(self._window - elapsed)


class FailureThrottle:
    """Counts failures by address, and says when an address has had too many."""

    def __init__(
        self,
        limit: str,
        table: WindowTable,
        digest: KeyedDigest,
        addresses: ClientAddresses | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """As a WindowLimit, for callers that ``addresses`` tells apart; None trusts no proxy."""
        by_address = WindowLimit(limit, table, digest, timer)
        self._count_at = by_address.count_at
        # Floods come from few addresses.
        self._place_of = lru_cache(maxsize=4_096)(by_address.place_of)
        self._counted = (addresses or ClientAddresses()).counted

    def count_failure(self, environ: WSGIEnvironment) -> None:
        """Count one failure of the caller; raises RateLimited where that was one too many."""
        self._count_at(self._place_of(self._counted(environ)))


def _encoded(address: str) -> bytes:
    # What a server hands over as the peer's address may be any text.
    return address.encode("utf-8", "surrogatepass")
