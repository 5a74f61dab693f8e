"""The use counts of credentials in shared memory: cumulative, by the number of the row."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from latchkey.box.counter_names import Use
from latchkey.box.shared import SharedState
from latchkey.box.sightings import recent_sightings
from latchkey.credentials.models import COUNTED, Sighting, Tally

# Larger counts and times are damage: the database could not store their sums.
_MOST = 1 << 53
_LATEST = 253_402_300_799_000

_FIELDS = tuple(use.name.lower() for use in Use)
_COUNTS = tuple(_FIELDS.index(name) for name in COUNTED)
_row_of = attrgetter(*_FIELDS)


class LiveTallies:
    """The tallies of one shared state, in the form that the credentials use.

    ``segment`` identifies the counts in the database: it is the segment's uuid in hex, or a random
    one for private memory.
    """

    def __init__(self, shared: SharedState) -> None:
        self.segment = secrets.token_hex(16) if shared.segment is None else shared.segment.uuid
        self._tallies = shared.uses
        self._sightings = shared.sightings
        # The rows that this object last marked as persisted, and a copy for comparison, which is
        # empty after `forget_written`.
        self._written = array("Q")
        self._compared = self._written

    def tally(self, credential_id: int) -> Tally:
        """The counts of a credential; zeros if there are none, or the row is damaged."""
        row = self._tallies.row(credential_id)
        times = (row[Use.LAST_USED], row[Use.FIRST_USED])
        counts = [row[place] for place in _COUNTS]
        if max(times) > _LATEST or max(counts) > _MOST:
            return Tally(credential_id)
        fields: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
        return Tally(credential_id, **fields)

    def counted(self, credential_ids: Iterable[int]) -> Iterator[Tally]:
        """The counts of each of these credentials that has any."""
        row = self._tallies.row
        return (self.tally(number) for number in credential_ids if any(row(number)))

    def sightings(self, tally: Tally) -> tuple[Sighting, ...]:
        """The last addresses that the workers recorded for a tally's credential, newest first."""
        return recent_sightings(self._sightings, tally.credential_id, tally.last_used)

    def unwritten(self) -> list[Tally]:
        """Every tally that has changed since this object last marked it as ``written``.

        The first call returns all tallies; the flush compares them with the database. A tally has
        its addresses if its source has changed, which happens at least once in five minutes.
        """
        self._compared = compared = self._written
        width = len(self._tallies.fields)
        tallies = []
        for tally in map(self.tally, self._tallies.changes(compared)):
            source = tally.credential_id * width + Use.SOURCE
            if source >= len(compared) or compared[source] != tally.source:
                tallies.append(replace(tally, sightings=self.sightings(tally)))
            else:
                tallies.append(tally)
        return tallies

    def written(self, tallies: Sequence[Tally]) -> None:
        """Mark tallies as persisted."""
        written = self._compared
        if not tallies:
            return
        width = len(self._tallies.fields)
        missing = (max(tally.credential_id for tally in tallies) + 1) * width - len(written)
        if missing > 0:
            written.frombytes(bytes(missing * written.itemsize))
        for tally in tallies:
            start = tally.credential_id * width
            written[start : start + width] = array("Q", _row_of(tally))

    def forget_written(self) -> None:
        """Have all tallies persisted again, because the database was replaced.

        Safe in any thread, and during a flush to the former database.
        """
        self._written = array("Q")
