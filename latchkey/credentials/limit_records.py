"""Changes of the limits of keys and accounts, the same in every store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from latchkey.credentials.limits import AccountLimits, Limit, StoredLimit
from latchkey.credentials.models import MODES
from latchkey.credentials.quotas import LimitRecord, begun


class LimitRecords(Protocol):
    """The records of limits of one store, within the transaction of a change."""

    def of_holder(self, holder: str, mode: str) -> Mapping[str, LimitRecord]:
        """All records of a holder, by the names of the limits; see LimitRecord."""

    def find(self, limit_id: int) -> LimitRecord:
        """The record with this id, which a key or an account has."""

    def add(self, new: LimitRecord) -> LimitRecord:
        """Store a new record; returns it with its id. The id of ``new`` is not used."""

    def put(self, found: LimitRecord, changed: LimitRecord) -> None:
        """Replace a record, and forget the reservations that it does not count any more."""


def store_limits(
    records: LimitRecords,
    holder: str,
    mode: str,
    limits: Iterable[Limit],
    now: datetime,
    *,
    renews_totals: bool = True,
) -> tuple[StoredLimit, ...]:
    """Store the limits of a key (``mode`` is then empty) or an account.

    A limit that the holder had under the same name keeps its state.
    """
    wanted = tuple(limits)
    if not wanted:
        return ()
    present = records.of_holder(holder, mode)
    stored = []
    for limit in wanted:
        found = present.get(limit.name)
        if found is None:
            changed = records.add(begun(0, holder, mode, limit, now))
        else:
            changed = found.redefined(limit, now, renews_total=renews_totals)
            records.put(found, changed)
        stored.append(changed.stored)
    return tuple(stored)


def store_account_limits(
    records: LimitRecords,
    account_id: str,
    limits: Sequence[Limit],
    now: datetime,
    *,
    renews_totals: bool = True,
) -> AccountLimits:
    """Store the limits of an account, which have a state in each mode."""
    live, test = (
        store_limits(records, account_id, mode, limits, now, renews_totals=renews_totals)
        for mode in MODES
    )
    return AccountLimits(live, test)


def renew_limits(
    records: LimitRecords, limits: Sequence[StoredLimit], names: Collection[str], now: datetime
) -> tuple[StoredLimit, ...]:
    """Begin the quotas with these names anew; returns all ``limits`` as they are then."""
    renewed = []
    for one in limits:
        if one.limit.name in names:
            found = records.find(one.id)
            changed = found.renewed(now)
            records.put(found, changed)
            one = changed.stored
        renewed.append(one)
    return tuple(renewed)
