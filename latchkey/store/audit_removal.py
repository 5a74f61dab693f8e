"""Erasing values of the audit log: the value and its salt are removed, and the digest stays."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select, update

from latchkey.credentials.audit import ERASED_DETAIL, Action
from latchkey.credentials.audit_erasure import KEPT_DETAILS, Bounds
from latchkey.credentials.times import to_milliseconds
from latchkey.store.tables import audit

_BATCH = 1_000

# Rows of version 0.2 have no digests yet: without their values, they could not be verified.
_HAS_ADDRESS = and_(
    audit.c.address_digest.is_not(None),
    or_(audit.c.address.is_not(None), audit.c.address_salt.is_not(None)),
)
_HAS_DETAIL = and_(
    audit.c.detail_digest.is_not(None),
    or_(audit.c.detail != ERASED_DETAIL, audit.c.detail_salt.is_not(None)),
    audit.c.action.not_in([action.value for action in KEPT_DETAILS]),
)
_LAST_EXPIRY = (
    select(audit.c.number, audit.c.detail)
    .where(audit.c.action == Action.AUDIT_EXPIRE.value)
    .order_by(audit.c.number.desc())
    .limit(1)
)


def erase_addresses(connection: Connection, rows: ColumnElement[bool]) -> list[int]:
    """Erase the addresses of these rows; returns the numbers of rows that had one."""
    change = update(audit).where(_HAS_ADDRESS, rows).values(address=None, address_salt=None)
    return list(connection.execute(change.returning(audit.c.number)).scalars())


def erase_details(connection: Connection, rows: ColumnElement[bool]) -> list[int]:
    """Erase the details of these rows; returns the numbers of rows that had one."""
    change = update(audit).where(_HAS_DETAIL, rows).values(detail=ERASED_DETAIL, detail_salt=None)
    return list(connection.execute(change.returning(audit.c.number)).scalars())


def expired_rows(connection: Connection, bounds: Bounds, after: int) -> list[int]:
    """The next rows after this number that have expired values: a bounded number of them."""
    query = (
        select(audit.c.number)
        .where(
            audit.c.number > after,
            or_(
                and_(_HAS_ADDRESS, _before(bounds.addresses_before)),
                and_(_HAS_DETAIL, _before(bounds.details_before)),
            ),
        )
        .order_by(audit.c.number)
        .limit(_BATCH)
    )
    return list(connection.execute(query).scalars())


def is_recorded(connection: Connection, detail: str, last: int) -> bool:
    """Whether the latest row ``audit.expire`` has this detail, and comes after the row ``last``."""
    row = connection.execute(_LAST_EXPIRY).one_or_none()
    return row is not None and row.detail == detail and row.number > last


def erase_expired(connection: Connection, bounds: Bounds, rows: ColumnElement[bool]) -> None:
    """Erase the expired values of these rows."""
    erase_addresses(connection, and_(rows, _before(bounds.addresses_before)))
    erase_details(connection, and_(rows, _before(bounds.details_before)))


def _before(moment: datetime | None) -> ColumnElement[bool]:
    return false() if moment is None else audit.c.at < to_milliseconds(moment)
