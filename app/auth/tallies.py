"""The use of credentials as shared memory counts it: cumulative, by the number of their row."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Sequence

from app.auth.shared import SharedState
from app.credentials.models import Tally


class LiveTallies:
    """The tallies of one state as the domain reads them.

    ``segment`` is the uuid in hex under which they are written down: that of the segment, or for
    private memory one of its own.
    """

    def __init__(self, shared: SharedState) -> None:
        self.segment = secrets.token_hex(16) if shared.segment is None else shared.segment.uuid
        self._tallies = shared.uses
        # The rows as they were when this object last heard that they were written down.
        self._written = array("Q")

    def tally(self, credential_id: int) -> Tally:
        """What is counted for a credential; zeros where that is nothing."""
        return Tally(credential_id, *self._tallies.row(credential_id))

    def unwritten(self) -> list[Tally]:
        """Every tally that has moved since it was last ``written`` by this object, now read.

        The first time these are all that ever moved; who writes them down finds out what is new.
        """
        return [self.tally(number) for number in self._tallies.changes(self._written)]

    def written(self, tallies: Sequence[Tally]) -> None:
        """Take note of what has been written down."""
        if not tallies:
            return
        width = len(self._tallies.fields)
        missing = (max(tally.credential_id for tally in tallies) + 1) * width - len(self._written)
        if missing > 0:
            self._written.frombytes(bytes(missing * self._written.itemsize))
        for tally in tallies:
            start = tally.credential_id * width
            self._written[start : start + width] = array(
                "Q", (tally.uses, tally.last_used, tally.revoked, tally.expired, tally.scope)
            )
