"""Listing credentials for a person: searched, filtered, sorted, page by page, and counted.

A search reads all rows, because no index finds the middle of a name. Otherwise there is an index in
name order and one in expiry order; both contain the columns that the filters read. The last use has
no index, because every flush of use counts would have to update it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, or_, select

from latchkey.credentials.listing import (
    CONCERNS,
    EXPIRING_WITHIN,
    LONGEST_SEARCH,
    STATUSES,
    UNUSED_AGE,
    AsOf,
    Census,
    Concern,
    Order,
    Selection,
)
from latchkey.credentials.models import Credential, Status
from latchkey.credentials.times import to_milliseconds
from latchkey.store.connections import Connections, SqlDialect
from latchkey.store.finding import CREDENTIALS
from latchkey.store.rows import joined_credential_of
from latchkey.store.tables import credential

_BATCH = 1_000


class SqlListing:
    """Lists the credentials of one database; raises StoreError when the database fails."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._dialect = connections.dialect

    def page(
        self, selection: Selection, order: Order, as_of: AsOf, *, limit: int, offset: int = 0
    ) -> list[Credential]:
        """At most ``limit`` of the selected credentials, after the first ``offset`` of them."""
        number: ColumnElement[int] = credential.c.id
        by = _key(order, as_of, self._dialect)
        # Select only ids first: sorted and skipped rows are then small.
        numbers = select(number).where(*_conditions(selection, as_of, self._dialect))
        if selection.search is not None or selection.concern is not None:
            # Search in the table's own order: an index would need a lookup of each row for the
            # columns that it lacks.
            found = select(number, by.label("by")).where(
                *_conditions(selection, as_of, self._dialect)
            )
            cte = found.cte("found").prefix_with("MATERIALIZED")
            number, by = cte.c.id, cte.c.by
            numbers = select(number)
        numbers = numbers.order_by(*_ordering(order, number, by)).limit(limit).offset(offset)
        query = CREDENTIALS.where(credential.c.id.in_(numbers))
        query = query.order_by(
            *_ordering(order, credential.c.id, _key(order, as_of, self._dialect))
        )
        with self._connections.reading() as connection:
            return [joined_credential_of(row) for row in connection.execute(query)]

    def newest(self, selection: Selection, as_of: AsOf, limit: int | None) -> Iterator[Credential]:
        """The selected credentials, newest first, read in batches; None is no limit."""
        query = CREDENTIALS.where(*_conditions(selection, as_of, self._dialect))
        query = query.order_by(credential.c.id.desc())
        before = None
        while limit is None or limit > 0:
            size = _BATCH if limit is None else min(_BATCH, limit)
            batch = query.limit(size)
            if before is not None:
                batch = batch.where(credential.c.id < before)
            with self._connections.reading() as connection:
                found = [joined_credential_of(row) for row in connection.execute(batch)]
            yield from found
            if len(found) < size:
                return
            before = found[-1].id
            limit = None if limit is None else limit - size

    def count(self, selection: Selection, as_of: AsOf) -> int:
        """How many credentials a selection has."""
        query = select(func.count()).select_from(credential)
        query = query.where(*_conditions(selection, as_of, self._dialect))
        with self._connections.reading() as connection:
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


def _conditions(
    selection: Selection, as_of: AsOf, dialect: SqlDialect
) -> list[ColumnElement[bool]]:
    conditions = []
    if selection.account_id is not None:
        conditions.append(credential.c.account_id == selection.account_id)
    if selection.mode is not None:
        conditions.append(credential.c.mode == selection.mode)
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
    running = or_(credential.c.expires_at.is_(None), credential.c.expires_at > now)
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
    # A key has ASCII letters only.
    return or_(found, dialect.contains(credential.c.api_key, search)) if search.isascii() else found
