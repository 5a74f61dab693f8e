"""The last addresses that credentials were used from, in memory that the workers share.

The table is bounded and may lose entries. The next flush persists it. It records one address per
second for each credential.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from wsgiref.types import WSGIEnvironment

from fastcache.shared import SharedCache
from latchkey.addresses import ClientAddresses, parse_address
from latchkey.box._sightings import AddressSources
from latchkey.box.shared import SharedState
from latchkey.credentials.models import SIGHTINGS_KEPT, Sighting
from latchkey.credentials.times import from_milliseconds

UNKNOWN_ADDRESS = "unknown"
"""The text for a peer without an address, such as that of a unix socket."""

_LONGEST = 216
# More than twice the period after which an unchanged address is recorded again.
_KEPT = 600_000_000_000
# The digits of a time in milliseconds: a longer number is after the year 5000.
_DIGITS = 14
# As long as the longest value, so that no text of the former one is left.
_NOTHING = bytes(_LONGEST)
# Another worker may be writing to the same slot.
_TRIES = 100


class Sightings(AddressSources):
    """Records the addresses of uses; ``shared`` has the table and the tallies."""

    def __init__(
        self,
        shared: SharedState,
        addresses: ClientAddresses | None = None,
        timer: Callable[[], int] = time.monotonic_ns,
        *,
        kept: timedelta | None = None,
    ) -> None:
        """``addresses`` identifies callers; None trusts no proxy.

        ``kept`` is how long an address is kept after its last use; None for always.

        ``timer`` is CLOCK_MONOTONIC in nanoseconds, the same in all processes on the machine.
        """
        addresses = addresses or ClientAddresses()
        super().__init__(shared.uses, addresses.trusted_proxies > 0)
        self._table = shared.sightings
        self._addresses = addresses
        self._timer = timer
        self._kept = None if kept is None else kept // timedelta(milliseconds=1)

    def record(self, environ: WSGIEnvironment, credential_id: int, now: int) -> bool:
        """Record the caller's address; False if another worker is writing to the same slot."""
        address = self._addresses.written(environ) or UNKNOWN_ADDRESS
        lines = [f"{now} {address}"]
        oldest = 0 if self._kept is None else now - self._kept
        lines += [
            line
            for line in _lines(self._table, credential_id)
            if _address(line) != address and _moment(line) >= oldest
        ]
        value = "\n".join(lines[:SIGHTINGS_KEPT]).encode()
        deadline = self._timer() + _KEPT
        return self._table.put(_key(credential_id), value, ticket=0, deadline=deadline)


def forget_sightings(table: SharedCache, credential_ids: Iterable[int]) -> None:
    """Overwrite the recorded addresses of credentials.

    A request in flight may record one again, which is kept for ten minutes at most.
    """
    for credential_id in credential_ids:
        for _ in range(_TRIES):
            if table.put(_key(credential_id), _NOTHING, ticket=0, deadline=0):
                break


def recent_sightings(
    table: SharedCache, credential_id: int, last_used: int
) -> tuple[Sighting, ...]:
    """The recorded addresses of a credential, newest first.

    Uses have come from the newest address since it was recorded, until ``last_used`` (in
    milliseconds since 1970).
    """
    lines = _lines(table, credential_id)
    times = [_moment(line) for line in lines]
    if times:
        times[0] = max(times[0], last_used)
    return tuple(
        Sighting(_address(line), from_milliseconds(at))
        for line, at in zip(lines, times, strict=True)
    )


def _lines(table: SharedCache, credential_id: int) -> list[str]:
    """The lines that ``record`` wrote, without damaged ones."""
    entry = table.get(_key(credential_id))
    if entry is None:
        return []
    return [line for line in entry.value.decode(errors="replace").split("\n") if _is_whole(line)]


def _address(line: str) -> str:
    return line.partition(" ")[2]


def _moment(line: str) -> int:
    """The milliseconds since 1970 of a whole line."""
    return int(line.partition(" ")[0])


def _is_whole(line: str) -> bool:
    at, _, address = line.partition(" ")
    if not (at.isascii() and at.isdigit() and len(at) <= _DIGITS):
        return False
    return address == UNKNOWN_ADDRESS or str(parse_address(address)) == address


def _key(credential_id: int) -> bytes:
    return credential_id.to_bytes(8)
