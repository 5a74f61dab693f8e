"""Listing credentials for a person: searched, filtered, sorted, page by page, and counted.

A search reads all rows, because no index finds the middle of a name. Otherwise there is an index in
name order and one in expiry order; both contain the columns that the filters read. The last use has
no index, because every flush of use counts would have to update it.

The keys of one account are found by an index in order of creation, and other orders sort them. If
an account has very many, this would cost more than to read all rows in the order of the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    case,
    false,
    func,
    or_,
    select,
    union_all,
)

from latchkey.credentials.listing import (
    CONCERNS,
    COUNTED,
    EXPIRING_WITHIN,
    LONGEST_SEARCH,
    STATUSES,
    UNUSED_AGE,
    AsOf,
    Census,
    Concern,
    Found,
    LimitedKeys,
    Order,
    Selection,
)
from latchkey.credentials.models import MODES, Credential, Status
from latchkey.credentials.times import to_milliseconds
from latchkey.store.batches import newest_first
from latchkey.store.connections import Connections, SqlDialect
from latchkey.store.finding import CREDENTIALS
from latchkey.store.rows import joined_credential_of
from latchkey.store.tables import credential, limit_refusal
from latchkey.store.usage_queries import sum_of

_PART_OF_KEY = re.compile("[0-9A-Za-z_]+")
_MANY = 100_000
"""More keys of an account than this cost more to look up one by one than a scan of the table."""


class SqlListing:
    """Lists the credentials of one database; raises StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._dialect = connections.dialect

    def page(
        self, selection: Selection, order: Order, as_of: AsOf, *, limit: int, offset: int = 0
    ) -> list[Credential]:
        """At most ``limit`` of the selected credentials, after the first ``offset`` of them."""
        by = _key(order, as_of, self._dialect)
        with self._connections.reading() as connection:
            # Select only ids first: sorted and skipped rows are then small.
            if order.by == "created" and not _reads_rows(selection):
                numbers = self._by_creation(selection, as_of, order).limit(limit).offset(offset)
            else:
                numbers = self._sorted(connection, selection, as_of, order)
                numbers = numbers.limit(limit).offset(offset)
            query = CREDENTIALS.where(credential.c.id.in_(numbers))
            query = query.order_by(*_ordering(order, credential.c.id, by))
            return [joined_credential_of(row) for row in connection.execute(query)]

    def found(
        self,
        selection: Selection,
        order: Order,
        as_of: AsOf,
        *,
        limit: int,
        offset: int = 0,
        counted: int = COUNTED,
    ) -> Found:
        """A page with the number of all selected credentials; see the protocol."""
        if not _reads_rows(selection):
            page = self.page(selection, order, as_of, limit=limit, offset=offset)
            return Found(page, self.count(selection, as_of))
        by = _key(order, as_of, self._dialect)
        with self._connections.reading() as connection:
            # The rows are read once, for the page and for the number.
            owned = selection.account_id is not None
            indexed = owned and not self._is_large(connection, selection)
            conditions = _conditions(selection, as_of, self._dialect, indexed=indexed)
            if order.by == "created":
                # In the order of the table, until there are enough.
                some = select(credential.c.id).where(*conditions)
                some = some.order_by(*_ordering(order, credential.c.id, by)).limit(counted + 1)
                numbers = list(connection.execute(some).scalars())
                total = len(numbers)
                numbers = numbers[offset : offset + limit]
            else:
                cte = select(credential.c.id, by.label("by")).where(*conditions).cte("found")
                cte = cte.prefix_with("MATERIALIZED")
                every = select(func.count()).select_from(cte)
                query = select(cte.c.id, every.scalar_subquery().label("total"))
                query = query.order_by(*_ordering(order, cte.c.id, cte.c.by))
                rows = connection.execute(query.limit(limit).offset(offset)).all()
                total = rows[0].total if rows else 0
                if offset and not rows:
                    total = connection.execute(every).scalar_one()
                numbers = [row.id for row in rows]
            details = CREDENTIALS.where(self._dialect.one_of(credential.c.id, numbers))
            details = details.order_by(*_ordering(order, credential.c.id, by))
            found = [joined_credential_of(row) for row in connection.execute(details)]
        return Found(found, min(total, counted), total > counted)

    def newest(self, selection: Selection, as_of: AsOf, limit: int | None) -> Iterator[Credential]:
        """The selected credentials, newest first, read in batches; None is no limit."""

        def page(size: int, before: int | None) -> list[Credential]:
            numbers = self._by_creation(selection, as_of, Order(), before).limit(size)
            batch = CREDENTIALS.where(credential.c.id.in_(numbers))
            batch = batch.order_by(credential.c.id.desc())
            with self._connections.reading() as connection:
                return [joined_credential_of(row) for row in connection.execute(batch)]

        return newest_first(page, lambda one: one.id, limit)

    def count(self, selection: Selection, as_of: AsOf) -> int:
        """How many credentials a selection has."""
        query = select(func.count()).select_from(credential)
        with self._connections.reading() as connection:
            indexed = not (_reads_rows(selection) and self._is_large(connection, selection))
            query = query.where(*_conditions(selection, as_of, self._dialect, indexed=indexed))
            return connection.execute(query).scalar_one()

    def census(self, as_of: AsOf) -> Census:
        """Counts of all credentials by status and by concern, from one read."""
        query = select(
            *(_sum(_has_status(status, as_of)).label(status) for status in STATUSES),
            *(_sum(_has_concern(concern, as_of)).label(concern) for concern in CONCERNS),
        )
        with self._connections.reading() as connection:
            sums = connection.execute(query).mappings().one()
        return Census(
            {status: sums[status] for status in STATUSES},
            {concern: sums[concern] for concern in CONCERNS},
        )

    def limited(self, since: datetime, most: int) -> LimitedKeys:
        """The credentials that limits refused in the hours from ``since`` on; see the protocol."""
        sums = (
            select(
                limit_refusal.c.credential_id, sum_of(limit_refusal.c.refusals).label("refusals")
            )
            .where(limit_refusal.c.hour >= to_milliseconds(since))
            .group_by(limit_refusal.c.credential_id)
            .cte("limited")
        )
        total = select(func.count()).select_from(sums).scalar_subquery()
        query = select(sums, total.label("total"))
        query = query.order_by(sums.c.refusals.desc(), sums.c.credential_id).limit(most)
        with self._connections.reading() as connection:
            rows = connection.execute(query).all()
            refusals = {row.credential_id: row.refusals for row in rows}
            some = CREDENTIALS.where(self._dialect.one_of(credential.c.id, list(refusals)))
            found = {row.id: joined_credential_of(row) for row in connection.execute(some)}
        first = tuple((found[number], count) for number, count in refusals.items())
        return LimitedKeys(rows[0].total if rows else 0, first)

    def _by_creation(
        self, selection: Selection, as_of: AsOf, order: Order, before: int | None = None
    ) -> CompoundSelect[int] | Select[int]:
        """The ids of a selection in order of creation, those below ``before``."""
        parts = [selection]
        if selection.account_id is not None and selection.mode is None:
            # The index of an account has the ids of each mode in order; the database merges them.
            parts = [replace(selection, mode=mode) for mode in MODES]
        found = [
            select(credential.c.id).where(*_conditions(part, as_of, self._dialect))
            for part in parts
        ]
        if before is not None:
            found = [part.where(credential.c.id < before) for part in found]
        if len(found) == 1:
            return found[0].order_by(*_ordering(order, credential.c.id, credential.c.id))
        merged = union_all(*found)
        number = merged.selected_columns.id
        return merged.order_by(*_ordering(order, number, number))

    def _sorted(
        self, connection: Connection, selection: Selection, as_of: AsOf, order: Order
    ) -> Select[int]:
        """The ids of a selection, sorted."""
        number: ColumnElement[int] = credential.c.id
        by = _key(order, as_of, self._dialect)
        large = self._is_large(connection, selection)
        conditions = _conditions(selection, as_of, self._dialect, indexed=not large)
        found = select(number).where(*conditions)
        if large or _reads_rows(selection):
            # Search in the table's own order: an index would need a lookup of each row for the
            # columns that it lacks.
            cte = select(number, by.label("by")).where(*conditions).cte("found")
            cte = cte.prefix_with("MATERIALIZED")
            number, by = cte.c.id, cte.c.by
            found = select(number)
        return found.order_by(*_ordering(order, number, by))

    def _is_large(self, connection: Connection, selection: Selection) -> bool:
        """Whether a selection is of an account with so many keys that a scan costs less."""
        if selection.account_id is None:
            return False
        owned = select(credential.c.id).where(credential.c.account_id == selection.account_id)
        some = select(func.count()).select_from(owned.limit(_MANY + 1).subquery())
        return connection.execute(some).scalar_one() > _MANY


def _reads_rows(selection: Selection) -> bool:
    """Whether the rows have to be read, because no index has all columns of the conditions."""
    return selection.search is not None or selection.concern is not None


def _conditions(
    selection: Selection, as_of: AsOf, dialect: SqlDialect, *, indexed: bool = True
) -> list[ColumnElement[bool]]:
    """The conditions of a selection; without ``indexed``, no index finds account or mode."""
    conditions = []
    if selection.account_id is not None:
        owner: ColumnElement[str] = credential.c.account_id
        conditions.append((owner if indexed else owner + "") == selection.account_id)
    if selection.mode is not None:
        mode: ColumnElement[str] = credential.c.mode
        conditions.append((mode if indexed else mode + "") == selection.mode)
    if selection.limits_of is not None:
        conditions.append(credential.c.limits_of == selection.limits_of)
    if selection.status is not None:
        conditions.append(_has_status(selection.status, as_of))
    if selection.concern is not None:
        conditions.append(_has_concern(selection.concern, as_of))
    if selection.search is not None:
        conditions.append(_contains(selection.search, dialect))
    return conditions


def _key(order: Order, as_of: AsOf, dialect: SqlDialect) -> ColumnElement[Any]:
    """The expression by which the order sorts."""
    if order.by == "status":
        numbered = enumerate(STATUSES)
        return case(*((_has_status(status, as_of), number) for number, status in numbered))
    keys: dict[str, ColumnElement[Any]] = {
        "created": credential.c.id,
        "name": dialect.without_case(credential.c.name),
        "last_used": credential.c.last_used_at,
        "expires": credential.c.expires_at,
    }
    return keys[order.by]


def _ordering(
    order: Order, number: ColumnElement[int], by: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    if order.by == "created":
        return [number.desc() if order.descending else number.asc()]
    # Last in both directions: databases order NULL differently.
    if order.descending:
        return [by.desc().nulls_last(), number.desc()]
    return [by.asc().nulls_last(), number.asc()]


def _has_status(status: Status, as_of: AsOf) -> ColumnElement[bool]:
    """``Credential.status`` in SQL."""
    now = to_milliseconds(as_of.now)
    if status == "revoked":
        return credential.c.revoked_at.is_not(None)
    if status == "expired":
        return and_(credential.c.revoked_at.is_(None), credential.c.expires_at <= now)
    # With OR, SQLite would look up nearly all rows by the index of the expiry.
    running = func.coalesce(credential.c.expires_at, now + 1) > now
    return and_(credential.c.revoked_at.is_(None), running)


def _has_concern(concern: Concern, as_of: AsOf) -> ColumnElement[bool]:
    """``AsOf.concerns`` in SQL, by the persisted last use."""
    active = _has_status("active", as_of)
    if concern == "due":
        latest = to_milliseconds(as_of.now - as_of.rotation_age)
        return and_(active, credential.c.rotated_to.is_(None), credential.c.created_at <= latest)
    if concern == "unused":
        latest = to_milliseconds(as_of.now - UNUSED_AGE)
        last = func.coalesce(credential.c.last_used_at, credential.c.created_at)
        return and_(active, last <= latest)
    return and_(active, credential.c.expires_at <= to_milliseconds(as_of.now + EXPIRING_WITHIN))


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _contains(search: str, dialect: SqlDialect) -> ColumnElement[bool]:
    """Whether the name or the key contains this text, ignoring the case of letters."""
    if len(search) > LONGEST_SEARCH:
        return false()
    found = dialect.contains(credential.c.name, search)
    if not _PART_OF_KEY.fullmatch(search):
        return found
    return or_(found, dialect.contains(credential.c.api_key, search))
