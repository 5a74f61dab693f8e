"""The current use of credentials: persisted counts plus those that are not yet persisted.

The workers count in memory, and one of them persists the counts every few seconds. A reader gets
the sum of both, each use once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from latchkey.credentials.models import (
    LIMIT_REASONS,
    REFUSAL_REASONS,
    SIGHTINGS_KEPT,
    Credential,
    Mode,
    Sighting,
    Tally,
    Usage,
)
from latchkey.credentials.times import from_milliseconds, utc_now
from latchkey.store.protocols import UsageStore


class TallySource(Protocol):
    """The cumulative tallies of one segment of memory, identified by its UUID."""

    @property
    def segment(self) -> str:
        """The uuid, in hex."""

    def tally(self, credential_id: int) -> Tally:
        """The segment's counts for a credential; zeros if there are none."""

    def counted(self, credential_ids: Iterable[int]) -> Iterator[Tally]:
        """The same for each of these credentials that has counts."""

    def sightings(self, tally: Tally) -> tuple[Sighting, ...]:
        """The last addresses that the segment has for a tally, newest first."""


class UsageReader:
    """Reads the use of credentials, including the last request."""

    def __init__(self, records: UsageStore, tallies: TallySource) -> None:
        self._records = records
        self._tallies = tallies

    def usage(self, credential: Credential) -> Usage:
        """The use of a credential; raises StoreError when the database fails."""
        record = self._records.record(credential.id, self._tallies.segment)
        # Read after the watermark, so it is never behind it.
        tally = self._tallies.tally(credential.id)
        hours = dict(record.hours)
        refusals, limited = _all_reasons(record.refusals), dict(record.limited)
        _add_unwritten(hours, refusals, limited, tally, record.watermark)
        return Usage(
            dict(sorted(hours.items())),
            _latest(credential.last_used_at, tally),
            refusals,
            _earliest(credential.first_used_at, tally),
            _merged(record.sightings, self._tallies.sightings(tally)),
            limited,
        )

    def usage_of_account(self, account_id: str, mode: Mode) -> Usage:
        """The use of all keys of an account in one mode, summed, without addresses.

        Raises StoreError when the database fails.
        """
        record = self._records.account_record(account_id, mode, self._tallies.segment)
        hours = dict(record.hours)
        refusals, limited = _all_reasons(record.refusals), dict(record.limited)
        last, first = record.last_used_at, record.first_used_at
        # Read after the watermarks, so that no tally is behind its own.
        for tally in self._tallies.counted(record.credential_ids):
            number = tally.credential_id
            watermark = record.watermarks.get(number) or Tally(number)
            _add_unwritten(hours, refusals, limited, tally, watermark)
            last, first = _latest(last, tally), _earliest(first, tally)
        return Usage(dict(sorted(hours.items())), last, refusals, first, limited=limited)

    def last_used_at(self, credential: Credential) -> datetime | None:
        """When a credential was last used, None for never; reads no database."""
        return _latest(credential.last_used_at, self._tallies.tally(credential.id))


def _all_reasons(written: dict[str, int]) -> dict[str, int]:
    return {reason: written.get(reason, 0) for reason in REFUSAL_REASONS}


def _add_unwritten(
    hours: dict[datetime, int],
    refusals: dict[str, int],
    limited: dict[datetime, int],
    tally: Tally,
    watermark: Tally,
) -> None:
    """Add what a tally has beyond its watermark to the written counts."""
    unwritten = tally.uses - watermark.uses
    if unwritten > 0 and tally.last_used:
        hour = from_milliseconds(tally.last_used).replace(minute=0, second=0, microsecond=0)
        hours[hour] = hours.get(hour, 0) + unwritten
    by_limits = 0
    for reason in REFUSAL_REASONS:
        gain = max(0, getattr(tally, reason) - getattr(watermark, reason))
        refusals[reason] += gain
        by_limits += gain if reason in LIMIT_REASONS else 0
    if by_limits:
        this_hour = utc_now().replace(minute=0, second=0, microsecond=0)
        limited[this_hour] = limited.get(this_hour, 0) + by_limits


def _latest(written: datetime | None, tally: Tally) -> datetime | None:
    if not tally.last_used:
        return written
    counted = from_milliseconds(tally.last_used)
    return counted if written is None else max(written, counted)


def _earliest(written: datetime | None, tally: Tally) -> datetime | None:
    if not tally.first_used:
        return written
    counted = from_milliseconds(tally.first_used)
    return counted if written is None else min(written, counted)


def _merged(written: tuple[Sighting, ...], counted: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
    latest: dict[str, Sighting] = {}
    for one in sorted((*written, *counted), key=lambda sighting: sighting.at):
        latest[one.address] = one
    newest = sorted(latest.values(), key=lambda sighting: sighting.at, reverse=True)
    return tuple(newest[:SIGHTINGS_KEPT])
