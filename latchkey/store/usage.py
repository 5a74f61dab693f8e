"""The use of credentials: counted in shared memory, persisted here, each use exactly once.

A segment of shared memory counts cumulatively. For each credential a watermark says how much of
that segment's count the tables already have; it moves in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from latchkey.credentials.models import (
    COUNTED,
    LIMIT_REASONS,
    SIGHTINGS_KEPT,
    AccountUsageRecord,
    Mode,
    Sighting,
    Tally,
    UsageRecord,
)
from latchkey.credentials.times import from_milliseconds, from_milliseconds_or_none, to_milliseconds
from latchkey.store.connections import Connections
from latchkey.store.protocols.usage import FORGOTTEN
from latchkey.store.tables import (
    account,
    credential,
    limit_refusal,
    refusal,
    sighting,
    usage,
    usage_watermark,
)
from latchkey.store.usage_queries import sum_of, use_of_account, use_of_credential

_HOUR = 3_600_000
_DAY = 24 * _HOUR
# Credentials per transaction: it limits how long other writers wait.
_BATCH = 500

_set_last_use = (
    update(credential)
    .where(
        credential.c.id == bindparam("credential_id"),
        or_(
            credential.c.last_used_at.is_(None),
            credential.c.last_used_at < bindparam("moment"),
        ),
    )
    .values(
        last_used_at=bindparam("moment"),
        first_used_at=func.coalesce(credential.c.first_used_at, bindparam("first")),
    )
)
_OF_ERASED = credential.c.account_id.in_(
    select(account.c.id).where(account.c.erased_at.is_not(None))
)
_later = sighting.alias()
_forget_older_sightings = delete(sighting).where(
    sighting.c.credential_id == bindparam("of"),
    sighting.c.address.not_in(
        select(_later.c.address)
        .where(_later.c.credential_id == bindparam("of"))
        .order_by(_later.c.at.desc())
        .limit(SIGHTINGS_KEPT)
    ),
)


class SqlUsageStore:
    """The use of credentials in one database; raises StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._dialect = connections.dialect
        upsert = connections.dialect.upsert
        self._add_uses = upsert(usage, ["credential_id", "hour"], _uses_on_top)
        self._add_refusals = upsert(
            refusal,
            ["credential_id", "reason"],
            lambda new: {"refusals": refusal.c.refusals + new["refusals"]},
        )
        self._add_limited = upsert(
            limit_refusal,
            ["credential_id", "hour"],
            lambda new: {"refusals": limit_refusal.c.refusals + new["refusals"]},
        )
        self._see = upsert(
            sighting,
            ["credential_id", "address"],
            lambda new: {"at": case((new["at"] > sighting.c.at, new["at"]), else_=sighting.c.at)},
        )
        self._set_watermark = upsert(
            usage_watermark,
            ["segment", "credential_id"],
            lambda new: {name: new[name] for name in COUNTED},
        )

    def flush(self, segment: str, tallies: Iterable[Tally], now: datetime) -> bool:
        """Persist the counts of a segment beyond its watermarks.

        ``segment`` is its UUID in hex. Several processes may pass the same or older tallies at the
        same time, and may die at any point. Uses count for the hour of the last one. False if the
        segment was forgotten.
        """
        remaining = iter(tallies)
        while batch := list(islice(remaining, _BATCH)):
            # Compare without the lock first: counts that another process has just persisted need no
            # write.
            with self._connections.reading() as connection:
                marks = self._watermarks(connection, segment, batch)
            ahead = [tally for tally in batch if _gain(tally, marks.get(tally.credential_id))]
            if ahead:
                with self._connections.writing(upkeep=True) as connection:
                    if not self._write(connection, segment, ahead, now):
                        return False
        return True

    def resume(self, segment: str, tallies: Sequence[Tally]) -> None:
        """Take all counts of a segment that was forgotten as persisted."""
        with self._connections.writing(upkeep=True) as connection:
            if FORGOTTEN not in self._watermarks(connection, segment, []):
                return
            rows = [
                {
                    "segment": segment,
                    "credential_id": tally.credential_id,
                    **{name: getattr(tally, name) for name in COUNTED},
                }
                for tally in tallies
            ]
            if rows:
                connection.execute(self._set_watermark, rows)
            connection.execute(
                delete(usage_watermark).where(
                    usage_watermark.c.segment == segment,
                    usage_watermark.c.credential_id == FORGOTTEN,
                )
            )

    def fold(self, before: datetime) -> int:
        """Merge the hours of each day that begins before ``before``, a midnight in UTC.

        A day's uses then count for its first hour. Returns the number of merged rows of other
        hours. Refusals by limits before ``before`` are deleted from the hours.
        """
        end = to_milliseconds(before)
        with self._connections.writing(upkeep=True) as connection:
            connection.execute(delete(limit_refusal).where(limit_refusal.c.hour < end))
        folded = 0
        while True:
            with self._connections.reading() as connection:
                ids = list(connection.execute(_foldable(end)).scalars())
            if not ids:
                return folded
            old = (
                self._dialect.one_of(usage.c.credential_id, ids),
                *(usage.c.hour < end, usage.c.hour % _DAY != 0),
            )
            fold = self._dialect.upsert(
                usage, ["credential_id", "hour"], _uses_on_top, rows=_days(old)
            )
            with self._connections.writing(upkeep=True) as connection:
                connection.execute(fold)
                folded += connection.execute(delete(usage).where(*old)).rowcount

    def forget_addresses(self, before: datetime) -> int:
        """Delete the addresses that were last seen before a time; returns their number."""
        old = sighting.c.at < to_milliseconds(before)
        some = select(sighting.c.credential_id).where(old).distinct().limit(_BATCH)
        forgotten = 0
        while True:
            with self._connections.reading() as connection:
                ids = list(connection.execute(some).scalars())
            if not ids:
                return forgotten
            chosen = self._dialect.one_of(sighting.c.credential_id, ids)
            with self._connections.writing(upkeep=True) as connection:
                forgotten += connection.execute(delete(sighting).where(old, chosen)).rowcount

    def record(self, credential_id: int, segment: str) -> UsageRecord:
        """The persisted use of one credential, and the segment's watermark for it.

        All from one state of the database: a tally less the watermark is not persisted yet.
        """
        written: dict[datetime, int] = {}
        limited: dict[datetime, int] = {}
        refused: dict[str, int] = {}
        marks: dict[str, Any] = {}
        seen: list[Sighting] = []
        # One statement sees one state of the database, so the parts are consistent.
        with self._connections.reading() as connection:
            for row in connection.execute(use_of_credential(credential_id, segment)):
                if row.kind == "hour":
                    written[from_milliseconds(row.hour)] = row.number
                elif row.kind == "limited":
                    limited[from_milliseconds(row.hour)] = row.number
                elif row.kind == "sighting":
                    seen.append(Sighting(row.name, from_milliseconds(row.number)))
                elif row.kind == "refusal":
                    refused[row.name] = row.number
                else:
                    marks[row.name] = row.number
        return UsageRecord(
            dict(sorted(written.items())),
            refused,
            replace(Tally(credential_id), **marks),
            tuple(sorted(seen, key=lambda one: one.at, reverse=True)),
            dict(sorted(limited.items())),
        )

    def account_record(self, account_id: str, mode: Mode, segment: str) -> AccountUsageRecord:
        """The persisted use of an account's credentials, and the segment's watermarks for them."""
        written: dict[datetime, int] = {}
        limited: dict[datetime, int] = {}
        refused: dict[str, int] = {}
        marks: dict[int, Tally] = {}
        last: int | None = None
        first: int | None = None
        own = select(credential.c.id).where(
            credential.c.account_id == account_id, credential.c.mode == mode
        )
        with self._connections.reading() as connection:
            ids = list(connection.execute(own.order_by(credential.c.id)).scalars())
            # One statement, as above.
            for row in connection.execute(use_of_account(account_id, mode, segment)):
                if row.kind == "hour":
                    written[from_milliseconds(row.number)] = row.amount
                elif row.kind == "limited":
                    limited[from_milliseconds(row.number)] = row.amount
                elif row.kind == "refusal":
                    refused[row.name] = row.amount
                elif row.kind == "times":
                    first, last = row.number, row.amount
                else:
                    counts = {name: getattr(row, name) for name in COUNTED}
                    marks[row.number] = Tally(row.number, **counts)
        return AccountUsageRecord(
            dict(sorted(written.items())),
            refused,
            ids,
            marks,
            from_milliseconds_or_none(last),
            from_milliseconds_or_none(first),
            dict(sorted(limited.items())),
        )

    def forget_segment(self, segment: str) -> None:
        """Delete the watermarks of a segment that no longer exists.

        Flushed again, it would be counted twice.
        """
        with self._connections.writing(upkeep=True) as connection:
            connection.execute(delete(usage_watermark).where(usage_watermark.c.segment == segment))

    def forget_other_segments(self, segment: str | None) -> None:
        """Delete the watermarks of every segment but this one (None: of all).

        The other segments must no longer exist, so no other box may use the database.
        """
        others = delete(usage_watermark)
        if segment is not None:
            others = others.where(usage_watermark.c.segment != segment)
        with self._connections.writing(upkeep=True) as connection:
            connection.execute(others)

    def _watermarks(
        self, connection: Connection, segment: str, tallies: list[Tally]
    ) -> dict[int, dict[str, int]]:
        """The segment's watermarks of these credentials, and that of FORGOTTEN, by their ids."""
        query = select(usage_watermark).where(
            usage_watermark.c.segment == segment,
            self._dialect.one_of(
                usage_watermark.c.credential_id,
                [FORGOTTEN, *(tally.credential_id for tally in tallies)],
            ),
        )
        return {row["credential_id"]: dict(row) for row in connection.execute(query).mappings()}

    def _write(
        self, connection: Connection, segment: str, tallies: list[Tally], now: datetime
    ) -> bool:
        marks = self._watermarks(connection, segment, tallies)
        if FORGOTTEN in marks:
            return False
        ids = select(credential.c.id).where(
            self._dialect.one_of(credential.c.id, [tally.credential_id for tally in tallies])
        )
        known = set(connection.execute(ids).scalars())
        # A request that was in flight when an account was erased may have recorded an address.
        erased = set(connection.execute(ids.where(_OF_ERASED)).scalars())
        uses, refusals, watermarks, last_uses, seen, seen_of = [], [], [], [], [], []
        limited = []
        this_hour = to_milliseconds(now) // _HOUR * _HOUR
        for tally in tallies:
            mark = marks.get(tally.credential_id)
            gain = _gain(tally, mark)
            if not gain:
                continue
            of = {"credential_id": tally.credential_id}
            # A restored backup may lack the newest rows, and will assign their numbers to new
            # credentials, for which only later uses count.
            if tally.credential_id not in known:
                gain = {}
            last_used = tally.last_used or to_milliseconds(now)
            for name, amount in gain.items():
                if name == "uses":
                    uses.append({**of, "hour": last_used // _HOUR * _HOUR, "uses": amount})
                    first_used = tally.first_used or last_used
                    last_uses.append({**of, "moment": last_used, "first": first_used})
                else:
                    refusals.append({**of, "reason": name, "refusals": amount})
            if by_limits := sum(gain.get(reason, 0) for reason in LIMIT_REASONS):
                limited.append({**of, "hour": this_hour, "refusals": by_limits})
            if tally.sightings and gain and tally.credential_id not in erased:
                seen_of.append({"of": tally.credential_id})
                for one in tally.sightings:
                    seen.append({**of, "address": one.address, "at": to_milliseconds(one.at)})
            reached = {name: getattr(tally, name) for name in COUNTED}
            if mark is not None:
                reached = {name: max(count, mark[name]) for name, count in reached.items()}
            watermarks.append({"segment": segment, **of, **reached})
        for statement, rows in (
            (self._add_uses, uses),
            (_set_last_use, last_uses),
            (self._add_refusals, refusals),
            (self._add_limited, limited),
            (self._see, seen),
            (_forget_older_sightings, seen_of),
            (self._set_watermark, watermarks),
        ):
            if rows:
                connection.execute(statement, rows)
        return True


def forget_segments(connection: Connection, segments: Collection[str]) -> None:
    """Delete the watermarks of segments that may still exist, and note that.

    ``connection`` is in a transaction that has its turn.
    """
    mark = usage_watermark
    for segment in segments:
        if connection.execute(delete(mark).where(mark.c.segment == segment)).rowcount:
            noted = {"segment": segment, "credential_id": FORGOTTEN, **dict.fromkeys(COUNTED, 0)}
            connection.execute(insert(mark).values(noted))


def _foldable(end: int) -> Select[Any]:
    """Some credentials that have hours to fold before ``end``, in milliseconds."""
    within = (usage.c.hour < end, usage.c.hour % _DAY != 0)
    return select(usage.c.credential_id).where(*within).distinct().limit(_BATCH)


def _days(old: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The uses of these hours, by credential and day."""
    days = select(
        usage.c.credential_id,
        (usage.c.hour - usage.c.hour % _DAY).label("hour"),
        usage.c.uses,
    ).where(*old)
    by_day = days.subquery("days")
    return select(
        by_day.c.credential_id, by_day.c.hour, sum_of(by_day.c.uses).label("uses")
    ).group_by(by_day.c.credential_id, by_day.c.hour)


def _uses_on_top(new: Mapping[str, Any]) -> Mapping[str, ColumnElement[Any]]:
    return {"uses": usage.c.uses + new["uses"]}


def _gain(tally: Tally, mark: dict[str, int] | None) -> dict[str, int]:
    """The difference of a tally and its watermark, if the tally is ahead.

    It can be behind: another process may have read the counters later and flushed earlier.
    """
    gains = {name: getattr(tally, name) - (mark[name] if mark else 0) for name in COUNTED}
    return {name: gain for name, gain in gains.items() if gain > 0}
