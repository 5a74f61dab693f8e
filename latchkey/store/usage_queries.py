"""The queries of the use of credentials: each is one statement, which sees one state.

A row has a ``kind``, and further columns whose meaning depends on it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    and_,
    cast,
    func,
    literal,
    select,
    union_all,
)

from latchkey.credentials.models import COUNTED, Mode
from latchkey.store.tables import (
    credential,
    limit_refusal,
    refusal,
    sighting,
    usage,
    usage_watermark,
)


def sum_of(amounts: ColumnElement[int]) -> ColumnElement[int]:
    """A sum as a whole number; PostgreSQL's own type for it is a decimal."""
    return cast(func.sum(amounts), BigInteger)


def use_of_credential(credential_id: int, segment: str) -> Any:
    """The hours, refusals and addresses of a credential, and a segment's watermark for it."""
    hours = select(
        literal("hour").label("kind"),
        usage.c.hour.label("hour"),
        cast(None, String).label("name"),
        usage.c.uses.label("number"),
    ).where(usage.c.credential_id == credential_id)
    limited = select(
        *(literal("limited"), limit_refusal.c.hour, cast(None, String)),
        limit_refusal.c.refusals,
    ).where(limit_refusal.c.credential_id == credential_id)
    refusals = select(
        literal("refusal"), cast(None, BigInteger), refusal.c.reason, refusal.c.refusals
    ).where(refusal.c.credential_id == credential_id)
    seen = select(
        literal("sighting"), cast(None, BigInteger), sighting.c.address, sighting.c.at
    ).where(sighting.c.credential_id == credential_id)
    marks: list[Select[Any]] = [
        select(
            literal("watermark"), cast(None, BigInteger), literal(name), usage_watermark.c[name]
        ).where(
            usage_watermark.c.segment == segment,
            usage_watermark.c.credential_id == credential_id,
        )
        for name in COUNTED
    ]
    return union_all(hours, limited, refusals, seen, *marks)


def use_of_account(account_id: str, mode: Mode, segment: str) -> Any:
    """The sums of an account's credentials in one mode, and a segment's watermarks for them."""
    own = (credential.c.account_id == account_id, credential.c.mode == mode)
    counts = [cast(None, BigInteger)] * len(COUNTED)
    hours = (
        select(
            literal("hour").label("kind"),
            cast(None, String).label("name"),
            usage.c.hour.label("number"),
            sum_of(usage.c.uses).label("amount"),
            *(count.label(name) for count, name in zip(counts, COUNTED, strict=True)),
        )
        .join(credential, credential.c.id == usage.c.credential_id)
        .where(*own)
        .group_by(usage.c.hour)
    )
    limited = (
        select(
            *(literal("limited"), cast(None, String), limit_refusal.c.hour),
            *(sum_of(limit_refusal.c.refusals), *counts),
        )
        .join(credential, credential.c.id == limit_refusal.c.credential_id)
        .where(*own)
        .group_by(limit_refusal.c.hour)
    )
    refusals = (
        select(
            *(literal("refusal"), refusal.c.reason, cast(None, BigInteger)),
            *(sum_of(refusal.c.refusals), *counts),
        )
        .join(credential, credential.c.id == refusal.c.credential_id)
        .where(*own)
        .group_by(refusal.c.reason)
    )
    times = select(
        *(literal("times"), cast(None, String)),
        *(func.min(credential.c.first_used_at), func.max(credential.c.last_used_at), *counts),
    ).where(*own)
    mark = usage_watermark
    marks = (
        select(
            *(literal("watermark"), cast(None, String), credential.c.id, cast(None, BigInteger)),
            *(mark.c[name] for name in COUNTED),
        )
        .join(mark, and_(mark.c.segment == segment, mark.c.credential_id == credential.c.id))
        .where(*own)
    )
    return union_all(hours, limited, refusals, times, marks)
