"""The overview page: keys that need attention, cache hit rates and request counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, render_template

from latchkey.box.counter_names import Count
from latchkey.box.worker_metrics import Totals
from latchkey.credentials.listing import EXPIRING_WITHIN, UNUSED_AGE
from latchkey_service.console.keys import as_of
from latchkey_service.console.sessions import latchkey

overview = Blueprint("overview", __name__, url_prefix="/console/overview")

_HOUR = timedelta(hours=1)
_LIMITED_SHOWN = 10
_OUTCOMES = (
    (Count.AUTHENTICATED, "Authenticated"),
    (Count.OPEN, "Open routes"),
    (Count.SCOPE, "Authenticated, but refused because of a missing scope"),
)
_REFUSALS = (
    (Count.MISSING, "No credential"),
    (Count.INVALID, "Malformed or unknown credential, or wrong secret"),
    (Count.REVOKED, "Revoked key"),
    (Count.EXPIRED, "Expired key"),
    (Count.DISABLED, "Disabled key"),
    (Count.NOT_YET_VALID, "Key that is not valid yet"),
    (Count.ADDRESS, "Network address that the key does not allow"),
    (Count.ENDPOINT, "Method or path that the key does not allow"),
    (Count.RATE_LIMITED, "Rate of the key or its account"),
    (Count.QUOTA_EXCEEDED, "Quota of the key or its account"),
    (Count.AMBIGUOUS, "Two schemes in one request"),
    (Count.TOO_MANY_FAILURES, "Too many failures from one address"),
    (Count.FAILED, "Database error"),
)


@dataclass(frozen=True, slots=True)
class LookupLevel:
    """One level of the check: the number of lookups, and how many of them it answered."""

    name: str
    lookups: int
    answered: int

    @property
    def rate(self) -> str:
        """The hit ratio in percent, with one decimal; a dash if there were no lookups."""
        if not self.lookups:
            return "–"
        # Rounded down, so that 100 % means all lookups.
        return f"{1000 * self.answered // self.lookups / 10:.1f} %"


def levels_of(totals: Totals) -> list[LookupLevel]:
    """The levels, in the order in which the check uses them."""
    count = totals.counts
    missed = count[Count.CACHE_MISS]
    here = count[Count.CACHE_HIT] + count[Count.SHARED_HIT] + missed
    return [
        LookupLevel("Worker’s own cache", here, count[Count.CACHE_HIT]),
        LookupLevel(
            "Cache shared between workers",
            count[Count.SHARED_HIT] + count[Count.SHARED_MISS],
            count[Count.SHARED_HIT],
        ),
        LookupLevel("Cache of unknown keys", missed, count[Count.UNKNOWN_HIT]),
        LookupLevel(
            "Database",
            count[Count.STORE_SELECT],
            count[Count.STORE_SELECT] - count[Count.STORE_ERROR],
        ),
    ]


@overview.get("/")
def show() -> str:
    """Show the overview."""
    parts, now = latchkey(), as_of()
    totals = parts.shared.worker_metrics.totals()
    limited_since = now.now.replace(minute=0, second=0, microsecond=0) - _HOUR
    return render_template(
        "overview.html",
        census=parts.store.listing.census(now),
        rotation_days=now.rotation_age.days,
        limited=parts.store.listing.limited(limited_since, _LIMITED_SHOWN),
        limited_since=limited_since,
        unused_days=UNUSED_AGE.days,
        expiring_days=EXPIRING_WITHIN.days,
        outcomes=[(text, totals.counts[count]) for count, text in _OUTCOMES],
        refusals=[(text, totals.counts[count]) for count, text in _REFUSALS],
        forged=totals.counts[Count.FORGED],
        levels=levels_of(totals),
    )
