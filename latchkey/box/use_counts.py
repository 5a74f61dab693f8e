"""The use of credentials as shared memory counts it: cumulative, by the number of their row."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from latchkey.box.counter_names import Use
from latchkey.box.shared import SharedState
from latchkey.box.sightings import recent_sightings
from latchkey.credentials.models import COUNTED, Sighting, Tally

# No count and no time of a row passes these: the database could not hold their sums.
_MOST = 1 << 53
_LATEST = 253_402_300_799_000

_FIELDS = tuple(use.name.lower() for use in Use)
_COUNTS = tuple(_FIELDS.index(name) for name in COUNTED)
_row_of = attrgetter(*_FIELDS)


class LiveTallies:
    """The tallies of one state as the domain reads them.

    ``segment`` is the uuid in hex under which they are written down: that of the segment, or for
    private memory one of its own.
    """

    def __init__(self, shared: SharedState) -> None:
        self.segment = secrets.token_hex(16) if shared.segment is None else shared.segment.uuid
        self._tallies = shared.uses
        self._sightings = shared.sightings
        # The rows as they were when this object last heard that they were written down; and the
        # same, unless they were forgotten since they were last compared with.
        self._written = array("Q")
        self._compared = self._written

    def tally(self, credential_id: int) -> Tally:
        """What is counted for a credential; zeros where that is nothing, or the row is damaged."""
        row = self._tallies.row(credential_id)
        times = (row[Use.LAST_USED], row[Use.FIRST_USED])
        counts = [row[place] for place in _COUNTS]
        if max(times) > _LATEST or max(counts) > _MOST:
            return Tally(credential_id)
        fields: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
        return Tally(credential_id, **fields)

    def sightings(self, tally: Tally) -> tuple[Sighting, ...]:
        """The last addresses that the workers noted of a tally's credential, newest first."""
        return recent_sightings(self._sightings, tally.credential_id, tally.last_used)

    def unwritten(self) -> list[Tally]:
        """Every tally that has moved since it was last ``written`` by this object, now read.

        The first time these are all that ever moved; who writes them down finds out what is new.
        Its addresses are with a tally where their source has moved: once in five minutes at least.
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
        """Take note of what has been written down."""
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
        """Have everything that ever moved written down again, in another database.

        From any thread, also while some of it is being written to the former.
        """
        self._written = array("Q")
