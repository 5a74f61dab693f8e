"""The expected results of listings, computed in Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from latchkey.credentials.listing import STATUSES, AsOf, Order, Selection
from latchkey.credentials.models import Credential
from tests.support.store.new_credentials import NOW

DAY = timedelta(days=1)
AS_OF = AsOf(NOW, rotation_age=30 * DAY)
NAMES = ("alpha", "Beta", "beta", "Éclair", "50%", "under_score", "back\\slash", "a*b?[c]", None)


def is_selected(row: Credential, selection: Selection) -> bool:
    """The oracle of a selection."""
    search = selection.search
    return (
        selection.mode in (None, row.mode)
        and selection.account_id in (None, row.account_id)
        and selection.status in (None, row.status(NOW))
        and (
            selection.concern is None or selection.concern in AS_OF.concerns(row, row.last_used_at)
        )
        and (
            search is None
            or search.lower() in (row.name or "").lower()
            or search.lower() in row.api_key.lower()
        )
    )


def in_order(rows: list[Credential], order: Order) -> list[Credential]:
    """The oracle of an order; ``rows`` are newest first."""
    if order.by == "created":
        return rows if order.descending else rows[::-1]
    keys: dict[str, Callable[[Credential], Any]] = {
        # ASCII letters without regard to case, others by their bytes.
        "name": lambda row: row.name and row.name.encode().lower(),
        "last_used": lambda row: row.last_used_at,
        "expires": lambda row: row.expires_at,
        "status": lambda row: STATUSES.index(row.status(NOW)),
    }
    key = keys[order.by]
    rows = rows if order.descending else rows[::-1]
    valued = [row for row in rows if key(row) is not None]
    # Python keeps the order of equal elements even when it sorts in reverse.
    valued.sort(key=key, reverse=order.descending)
    return valued + [row for row in rows if key(row) is None]
