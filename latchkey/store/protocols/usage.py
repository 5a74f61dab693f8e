"""The protocol of the use of credentials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from latchkey.credentials.models import AccountUsageRecord, Mode, Tally, UsageRecord

FORGOTTEN = 0
"""In place of a credential's number, in the only watermark of a segment that was forgotten."""


class UsageStore(Protocol):
    """How often credentials were used, and from where, each use exactly once.

    A segment of shared memory counts cumulatively. For each credential a watermark says how much of
    that segment's count is persisted; it moves in the same transaction as the counts.
    """

    def flush(self, segment: str, tallies: Iterable[Tally], now: datetime) -> bool:
        """Persist what a segment has counted beyond its watermarks, in batches of transactions.

        ``segment`` is its UUID in hex. Several processes may pass the same or older tallies, and
        may die at any point: nothing is counted twice, and no watermark moves back. Uses count for
        the hour of the last one, and refusals by limits for the hour of ``now``, which also
        replaces a missing time. A credential that the store does not have only gets a watermark.
        The SIGHTINGS_KEPT latest addresses of each credential are kept.

        False, and nothing is written, if the segment's watermarks were forgotten with its box: it
        is not known what was persisted. ``resume`` it first.
        """

    def resume(self, segment: str, tallies: Sequence[Tally]) -> None:
        """Take all counts of a segment that was forgotten as persisted, in one transaction.

        ``tallies`` are all that it has. Nothing happens if another process has resumed it.
        """

    def fold(self, before: datetime) -> int:
        """Merge the hours of each day that begins before ``before``, a midnight in UTC.

        A day's uses then count for its first hour. Returns the number of merged rows of other
        hours. The hours of refusals by limits before ``before`` are deleted.
        """

    def forget_addresses(self, before: datetime) -> int:
        """Delete the addresses that were last seen before a time; returns their number."""

    def record(self, credential_id: int, segment: str) -> UsageRecord:
        """The persisted use of one credential, and the segment's watermark for it.

        All from one state of the store: a tally less the watermark is not persisted yet.
        """

    def account_record(self, account_id: str, mode: Mode, segment: str) -> AccountUsageRecord:
        """The persisted use of all credentials of an account in one mode, revoked ones included.

        All from one state of the store, as for ``record``; no addresses.
        """

    def forget_segment(self, segment: str) -> None:
        """Delete the watermarks of a segment that no longer exists.

        Flushed again, it would be counted twice.
        """

    def forget_other_segments(self, segment: str | None) -> None:
        """Delete the watermarks of every segment but this one (None: of all).

        The other segments must no longer exist, so no other box may use the database.
        """
