"""The protocol of the store of quotas' state."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Protocol

from latchkey.credentials.quotas import Held, QuotaUse, Reservation, Spent


class LimitStore(Protocol):
    """The units of quotas that segments of shared memory have reserved.

    The limits themselves are changed with their key or account. Each method is one transaction that
    waits for no change and occupies no place for changes. ``segment`` is a segment's UUID in hex.
    """

    def reserve(
        self,
        limit_id: int,
        segment: str,
        cost: int,
        now: datetime,
        held: Held | None = None,
    ) -> Reservation | None:
        """Reserve units for a segment so that it can spend ``cost``, durably, if there are enough.

        ``now`` is in UTC and decides the period, which never moves back. ``held`` is what the
        segment's memory has of the quota; None for nothing. If more is already reserved than it
        has, and that suffices, nothing is added. None if there is no such quota.
        """

    def give_back(
        self,
        limit_id: int,
        epoch: int,
        segment: str,
        spent: int,
        next_epoch: int | None = None,
    ) -> None:
        """Lower what is reserved for a segment in an epoch to what it has spent.

        The segment must not spend more in that epoch; see Spent. Nothing is given back to a period
        that is over.
        """

    def give_back_all(self, segment: str, spent: Iterable[Spent]) -> None:
        """The same for all quotas of a segment that no process uses any more.

        The segment has spent nothing of quotas that are not listed.
        """

    def states(self, ids: Collection[int], now: datetime) -> dict[int, QuotaUse]:
        """The use of quotas at ``now``, by the ids of the limits; rates are left out."""
