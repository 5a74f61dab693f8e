"""The limits of a restored database: none gets weaker, and no unit that was used comes back.

A limit is the same in both databases if its holder and its name are. What is stored of its use is
that of the former database, unless the backup has more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, TextClause, delete, insert, text, update

from latchkey.credentials.limits import (
    AccountLimits,
    Limit,
    StoredLimit,
    account_limits_of_text,
    account_limits_text,
    restored_limits,
    stored_limits_of_text,
    stored_limits_text,
)
from latchkey.credentials.models import MODES
from latchkey.credentials.quotas import LimitRecord, begun
from latchkey.store.limits import limit_values, record_of
from latchkey.store.tables import limit_state, quota_reservation

# Each key of the restored database, and what it is in the former one. Also keys that were carried.
_PAIRS = text("""
    CREATE TEMP TABLE limits_pair AS
    SELECT id, former_id FROM counterpart
    UNION
    SELECT c.id, f.id FROM credential AS c JOIN former_credential AS f ON f.api_key = c.api_key
""")
_INDEXES = (
    text("CREATE INDEX ix_limits_pair_id ON limits_pair (id)"),
    text("CREATE INDEX ix_limits_pair_former_id ON limits_pair (former_id)"),
)
_FORGET_PAIRS = text("DROP TABLE limits_pair")
# A key shares the limits of the key that it shares them with now.
_SHARE = text("""
    UPDATE credential SET limits_of = (
        SELECT min(r.id) FROM former_credential AS f JOIN limits_pair AS r
            ON r.former_id = f.limits_of
        WHERE f.id = (SELECT max(p.former_id) FROM limits_pair AS p WHERE p.id = credential.id))
    WHERE id IN (SELECT id FROM limits_pair)
""")
# A key that was imported again may have taken the place of one that has limits of its own.
_SHARE_DIRECTLY = text("""
    UPDATE credential SET limits_of = (
        SELECT r.limits_of FROM credential AS r WHERE r.id = credential.limits_of)
    WHERE limits_of IN (SELECT s.id FROM credential AS s WHERE s.limits_of IS NOT NULL)
""")
_NOT_OF_ITSELF = text("UPDATE credential SET limits_of = NULL WHERE limits_of = id")

_LIMITS = text("SELECT * FROM limit_state ORDER BY id")
_FORMER_LIMITS = text("SELECT * FROM former_limit_state ORDER BY id")
_RESERVED = text("SELECT * FROM quota_reservation")
_FORMER_RESERVED = text("SELECT * FROM former_quota_reservation")
_KEYS = text("""
    SELECT c.id AS id, c.api_key AS api_key, c.limits_of AS limits_of,
        CAST(c.limits AS TEXT) AS backed_up, CAST(f.limits AS TEXT) AS present
    FROM credential AS c JOIN limits_pair AS p ON p.id = c.id
    JOIN former_credential AS f ON f.id = p.former_id
    WHERE c.limits IS NOT NULL OR f.limits IS NOT NULL ORDER BY c.id, f.id
""")
_API_KEYS = text("""
    SELECT f.api_key AS former, min(c.api_key) AS restored
    FROM credential AS c JOIN limits_pair AS p ON p.id = c.id
    JOIN former_credential AS f ON f.id = p.former_id
    WHERE f.api_key <> c.api_key GROUP BY f.api_key
""")
_INSTANCES = text("""
    SELECT f.id AS former, b.id AS restored FROM former_account AS f JOIN account AS b
    ON b.instance = 1 WHERE f.instance = 1 AND f.id <> b.id
""")
_ACCOUNTS = text("""
    SELECT b.number AS number, b.id AS id, CAST(b.limits AS TEXT) AS backed_up,
        CAST(f.limits AS TEXT) AS present
    FROM account AS b JOIN former_account AS f
    ON f.id = b.id OR (f.instance = 1 AND b.instance = 1)
    WHERE b.limits IS NOT NULL OR f.limits IS NOT NULL ORDER BY b.number
""")
_SET_KEY = text("UPDATE credential SET limits = :limits WHERE id = :id")
_SET_ACCOUNT = text("UPDATE account SET limits = :limits WHERE number = :number")

_RESTORED = "restored"
"""In place of a segment: units that only the backup knows to be used."""

_Key = tuple[str, str, str]
"""The holder of a limit, its mode and its name."""


@dataclass(slots=True)
class _Kept:
    """A limit with its reservations, by epoch and segment."""

    record: LimitRecord
    reserved: dict[tuple[int, str], int]

    @property
    def key(self) -> _Key:
        return self.record.holder, self.record.mode, self.record.name

    def used(self, now: datetime) -> int:
        base = self.record.advanced(now).base_epoch
        return sum(units for (epoch, _), units in self.reserved.items() if epoch >= base)


def carry_limits(connection: Connection, now: datetime) -> list[str]:
    """Carry limits and their use over; returns the keys whose limits would have become weaker.

    It follows the keys and accounts, and needs the pairs of keys.
    """
    connection.execute(_PAIRS)
    for index in _INDEXES:
        connection.execute(index)
    for statement in (_SHARE, _SHARE_DIRECTLY, _NOT_OF_ITSELF):
        connection.execute(statement)
    carrying = _Carrying(connection, now)
    narrowed = carrying.carry_keys()
    carrying.carry_accounts()
    carrying.write()
    connection.execute(_FORGET_PAIRS)
    return narrowed


class _Carrying:
    """The limits of the restored database, with the larger use that one of the two knows."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._kept = {one.key: one for one in _stored(connection, _LIMITS, _RESERVED, {})}
        numbers = {one.record.id for one in self._kept.values()}
        holders = {row.former: row.restored for row in connection.execute(_API_KEYS)}
        holders |= {row.former: row.restored for row in connection.execute(_INSTANCES)}
        for one in _stored(connection, _FORMER_LIMITS, _FORMER_RESERVED, holders):
            there = self._kept.get(one.key)
            if there is not None:
                self._kept[one.key] = self._larger(one, there)
                continue
            values = limit_values(one.record)
            if one.record.id in numbers:
                # The two databases have no common history.
                one.record = replace(one.record, id=self._add(values))
            else:
                connection.execute(insert(limit_state).values(id=one.record.id, **values))
            numbers.add(one.record.id)
            self._kept[one.key] = one

    def carry_keys(self) -> list[str]:
        """Give every key its limits; returns those that had weaker ones in the backup."""
        narrowed = []
        rows = self._connection.execute(_KEYS).all()
        for number, same in groupby(rows, key=lambda row: row.id):
            formers = list(same)
            key = formers[0]
            backed_up = _definitions(stored_limits_of_text(key.backed_up))
            chosen = backed_up
            for row in formers:
                chosen = restored_limits(chosen, _definitions(stored_limits_of_text(row.present)))
            if key.limits_of is not None:
                chosen = ()
            elif chosen != backed_up:
                narrowed.append(key.api_key)
            limits = stored_limits_text(self._limits(key.api_key, "", chosen))
            self._connection.execute(_SET_KEY, {"limits": limits, "id": number})
        return narrowed

    def carry_accounts(self) -> None:
        """Give every account its limits."""
        for row in self._connection.execute(_ACCOUNTS).all():
            chosen = restored_limits(
                account_limits_of_text(row.backed_up).definitions,
                account_limits_of_text(row.present).definitions,
            )
            live, test = (tuple(self._limits(row.id, mode, chosen)) for mode in MODES)
            limits = account_limits_text(AccountLimits(live, test))
            self._connection.execute(_SET_ACCOUNT, {"limits": limits, "number": row.number})

    def write(self) -> None:
        """Store the state of all limits."""
        self._connection.execute(delete(quota_reservation))
        for one in self._kept.values():
            row = update(limit_state).where(limit_state.c.id == one.record.id)
            self._connection.execute(row.values(**limit_values(one.record)))
            reserved = [
                {"limit_id": one.record.id, "epoch": epoch, "segment": by, "reserved": units}
                for (epoch, by), units in one.reserved.items()
                if epoch >= one.record.base_epoch
            ]
            if reserved:
                self._connection.execute(insert(quota_reservation), reserved)

    def _limits(self, holder: str, mode: str, limits: Iterable[Limit]) -> Iterator[StoredLimit]:
        """The limits of a holder with their state."""
        for limit in limits:
            found = self._kept.get((holder, mode, limit.name))
            if found is None:
                new = begun(0, holder, mode, limit, self._now)
                found = _Kept(replace(new, id=self._add(limit_values(new))), {})
                self._kept[found.key] = found
            # Nothing is renewed, and everything that was used is charged.
            found.record = found.record.redefined(limit, self._now, renews_total=False)
            yield found.record.stored

    def _larger(self, former: _Kept, backed_up: _Kept) -> _Kept:
        """The state in the former database, with what only the backup knows to be used."""
        used = backed_up.used(self._now)
        former.record = former.record.advanced(self._now)
        there = backed_up.record.advanced(self._now)
        former.record = replace(
            former.record,
            id=there.id,
            generation=max(former.record.generation, there.generation),
            period_start=max(former.record.period_start, there.period_start),
        )
        missing = used - former.used(self._now)
        if missing > 0:
            place = (former.record.epoch, _RESTORED)
            former.reserved[place] = former.reserved.get(place, 0) + missing
        return former

    def _add(self, values: Mapping[str, object]) -> int:
        added = insert(limit_state).values(**values).returning(limit_state.c.id)
        number: int = self._connection.execute(added).scalar_one()
        return number


def _stored(
    connection: Connection,
    limits: TextClause,
    reserved: TextClause,
    holders: Mapping[str, str],
) -> list[_Kept]:
    """The limits of a database; ``holders`` have another name in the restored one."""
    kept = {}
    for row in connection.execute(limits):
        record = record_of(row)
        holder = holders.get(record.holder, record.holder)
        kept[record.id] = _Kept(replace(record, holder=holder), {})
    for row in connection.execute(reserved):
        if row.limit_id in kept:
            kept[row.limit_id].reserved[row.epoch, row.segment] = row.reserved
    return list(kept.values())


def _definitions(limits: Iterable[StoredLimit]) -> tuple[Limit, ...]:
    return tuple(stored.limit for stored in limits)
