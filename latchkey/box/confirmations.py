"""Waiting, after a change, until every box has applied it or its lease has expired."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from latchkey.box.boot_clock import boot_ns
from latchkey.box.leases import MILLISECOND
from latchkey.credentials.publishing import Publication
from latchkey.errors import StoreError
from latchkey.store.places import ChangePlaces
from latchkey.store.protocols import Box, BoxStore
from latchkey.wording import counted

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05
_GROWTH = 1.25

log = logging.getLogger("latchkey")


class Confirmations:
    """Settles the changes of one process. The waiting holds no lock and no connection."""

    def __init__(
        self,
        boxes: BoxStore,
        places: ChangePlaces,
        clock: Callable[[], int] = boot_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``places`` limits how many threads wait; ``clock`` is CLOCK_BOOTTIME in nanoseconds."""
        self._boxes = boxes
        self._places = places
        self._clock = clock
        self._sleep = sleep

    def settle(self, publication: Publication, *, found_made: bool = False) -> None:
        """Wait until a committed change is effective in every box.

        ``found_made``: an earlier transaction made the change, so it is one of the rows that the
        log has now. Raises StoreError if the boxes cannot be listed: the change was made, but it is
        unknown whether it is effective. Raises ChangesBusy, only with ``found_made``, if too many
        threads are waiting.
        """
        with self._places.settling(is_new=found_made):
            if publication.lookups:
                for pause in self.steps(publication, found_made=found_made):
                    self._sleep(pause)

    def steps(self, publication: Publication, *, found_made: bool = False) -> Iterator[float]:
        """The same, without sleeping: yields the seconds to wait before the next step."""
        number = self._number_of(publication, found_made)
        since = self._clock()
        listed = {box.id: box for box in self._live()}
        left = {box.id for box in listed.values() if box.confirmed < number}
        longest = self._longest([box.lease_ms for box in listed.values()])
        pause = _FIRST_PAUSE
        while left:
            has_passed = self._clock() - since >= longest
            try:
                left = self._boxes.unconfirmed(left, number)
            except StoreError:
                if has_passed:
                    raise
            if not left:
                return
            if has_passed:
                break
            yield pause
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        if left and self._boxes.mark_dead(left, number):
            names = sorted({listed[box_id].name for box_id in left})
            log.warning(
                "%s did not confirm a change within the lease; marked as cut off: %s",
                counted(len(left), "box", "boxes"),
                ", ".join(names),
            )

    def _number_of(self, publication: Publication, found_made: bool) -> int:
        """The number of the row that the boxes have to confirm."""
        if publication.log_rows and not found_made:
            return max(publication.log_rows)
        row = self._boxes.last_row()
        return 0 if row is None else row.number

    def _live(self) -> list[Box]:
        """The boxes to wait for: those that were registered before the commit are among them."""
        return self._boxes.live()

    def _longest(self, leases_ms: Sequence[int]) -> int:
        """The nanoseconds after which no lease can be running that began before the commit."""
        return max(leases_ms, default=0) * MILLISECOND
