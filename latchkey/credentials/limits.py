"""Limits of a key or an account: rates, and quotas of a calendar period.

A rate admits ``burst`` units at once, then one each time its interval has passed. A quota admits a
number of units in each period. Their state is kept elsewhere, under the id of a limit.
"""

from __future__ import annotations

import json
import re
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

from latchkey.errors import InvalidField

RatePeriod = Literal["second", "minute", "hour", "day"]
QuotaPeriod = Literal["day", "month", "total"]

RATE_PERIODS: dict[RatePeriod, int] = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
"""The seconds of each period of a rate."""
QUOTA_PERIODS: tuple[QuotaPeriod, ...] = ("day", "month", "total")

MOST_LIMITS = 4
MOST_PER_SECOND = 1_000_000
LARGEST_QUOTA = 10**12
LONGEST_BURST = 366 * 86_400
"""The longest time, in seconds, in which an empty bucket becomes full again."""
DEFAULT_NAME = "default"
LATEST_REFILL = 28

LIMIT_NAME_PATTERN = "^[a-z][a-z0-9_-]{0,31}$"
"""The expression that the whole name of a limit matches."""
RATE_PATTERN = "^([1-9][0-9]{0,12})/(second|minute|hour|day)$"
"""The same for a rate."""

_SECOND = 1_000_000_000
_NAME = re.compile(LIMIT_NAME_PATTERN)
_RATE = re.compile(RATE_PATTERN)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``burst`` units at once, and ``count`` in each period after that."""

    name: str
    count: int
    period: RatePeriod
    burst: int

    @property
    def interval(self) -> int:
        """The nanoseconds in which one unit becomes available, rounded up."""
        return -(-RATE_PERIODS[self.period] * _SECOND // self.count)

    @property
    def window(self) -> int:
        """The length of the period in seconds."""
        return RATE_PERIODS[self.period]

    def to_json(self) -> dict[str, Any]:
        """The limit as the API shows it."""
        return {"name": self.name, "rate": f"{self.count}/{self.period}", "burst": self.burst}


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """At most ``quota`` units in each calendar period in UTC; ``total`` has no end.

    A month begins on the day ``refill_on``, 1 to 28.
    """

    name: str
    quota: int
    period: QuotaPeriod
    refill_on: int = 1

    def to_json(self) -> dict[str, Any]:
        """The limit as the API shows it."""
        found: dict[str, Any] = {"name": self.name, "quota": self.quota, "period": self.period}
        if self.period == "month":
            found["refill_on"] = self.refill_on
        return found


Limit: TypeAlias = RateLimit | QuotaLimit


class StoredLimit(NamedTuple):
    """A limit with the id of its state, which is never used again for another one.

    ``generation`` is that of the quota: a change of the quota begins a new one. 0 for a rate.
    """

    id: int
    limit: Limit
    generation: int = 0


class AppliedLimits(NamedTuple):
    """What is stored of the limits that a request of a key must pass.

    ``own`` are those of the key, which may be another key's that it shares; ``account`` are those
    of its account in its mode. ``shared_from`` is the number of the credential whose limits they
    are: the default limit, which applies if there are no ``own`` ones, has its state under it.
    """

    own: tuple[StoredLimit, ...]
    account: tuple[StoredLimit, ...]
    shared_from: int


class SharedLimits(NamedTuple):
    """The limits of another credential of the same account, which apply to this one too."""

    credential_id: int
    api_key: str
    limits: tuple[StoredLimit, ...]


class AccountLimits(NamedTuple):
    """The limits of an account: the same in both modes, counted in each."""

    live: tuple[StoredLimit, ...] = ()
    test: tuple[StoredLimit, ...] = ()

    def of(self, mode: Literal["live", "test"]) -> tuple[StoredLimit, ...]:
        """The limits in one mode, with their state."""
        return self.live if mode == "live" else self.test

    @property
    def definitions(self) -> tuple[Limit, ...]:
        """The limits without their state."""
        return tuple(stored.limit for stored in self.live)


NO_ACCOUNT_LIMITS = AccountLimits()


class Period(NamedTuple):
    """A period of a quota, in UTC. ``end`` is None for ``total``."""

    start: datetime
    end: datetime | None


FOREVER_START = datetime(1970, 1, 1, tzinfo=UTC)


def period_at(limit: QuotaLimit, moment: datetime) -> Period:
    """The period of a quota that contains a moment in UTC."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if limit.period == "total":
        return Period(FOREVER_START, None)
    if limit.period == "day":
        return Period(midnight, midnight + timedelta(days=1))
    first = midnight.replace(day=1)
    if midnight.day < limit.refill_on:
        first = (first - timedelta(days=1)).replace(day=1)
    days = monthrange(first.year, first.month)[1]
    # Every month has a day ``refill_on``.
    start = first.replace(day=limit.refill_on)
    end = (first + timedelta(days=days)).replace(day=limit.refill_on)
    return Period(start, end)


def parse_rate(text: str) -> tuple[int, RatePeriod]:
    """The count and the period of a rate as in ``100/minute``; raises ValueError."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("write a rate as 100/minute; periods are second, minute, hour and day")
    period: RatePeriod = match[2]  # type: ignore[assignment]
    count = int(match[1])
    if count > MOST_PER_SECOND * RATE_PERIODS[period]:
        raise ValueError(f"a rate is at most {MOST_PER_SECOND:,} per second")
    return count, period


def rate_limit(text: str, name: str = DEFAULT_NAME, burst: int | None = None) -> RateLimit:
    """A rate from a text as ``100/minute``; the burst defaults to its count. Raises ValueError."""
    count, period = parse_rate(text)
    limit = RateLimit(check_limit_name(name), count, period, count if burst is None else burst)
    if limit.burst < 1:
        raise ValueError("burst must be at least 1")
    if limit.burst * limit.interval > LONGEST_BURST * _SECOND:
        raise ValueError("the burst must be available again within 366 days: use a smaller one")
    return limit


def quota_limit(
    name: str, quota: int, period: QuotaPeriod, refill_on: int | None = None
) -> QuotaLimit:
    """A quota; raises ValueError if it is not valid."""
    if not 1 <= quota <= LARGEST_QUOTA:
        raise ValueError(f"a quota is 1 to {LARGEST_QUOTA:,}")
    if period not in QUOTA_PERIODS:
        raise ValueError("the period of a quota is day, month or total")
    if refill_on is not None and period != "month":
        raise ValueError("refill_on is only for the period month")
    if refill_on is not None and not 1 <= refill_on <= LATEST_REFILL:
        raise ValueError(f"refill_on is a day from 1 to {LATEST_REFILL}")
    return QuotaLimit(check_limit_name(name), quota, period, refill_on or 1)


def checked_limits(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """Limits of one key or account, at most four, each with a name of its own; InvalidField."""
    found = tuple(limits)
    if len(found) > MOST_LIMITS:
        raise InvalidField("limits", f"must have at most {MOST_LIMITS} items")
    names = [limit.name for limit in found]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InvalidField(f"limits.{number}.name", f"the name {name} is used twice")
    return found


def restored_limits(backed_up: Iterable[Limit], present: Iterable[Limit]) -> tuple[Limit, ...]:
    """The limits after a restore: none of the present ones gets weaker.

    Limits that only the backup has are added, as far as there may be as many.
    """
    backup = {limit.name: limit for limit in backed_up}
    found = []
    for limit in present:
        other = backup.pop(limit.name, None)
        found.append(other if other is not None and _is_within(other, limit) else limit)
    return tuple([*found, *backup.values()][: max(len(found), MOST_LIMITS)])


def stored_limits_text(limits: Iterable[StoredLimit]) -> str | None:
    """The text of limits in the database and in records: JSON, or None for no limits."""
    found = _stored_json(limits)
    return json.dumps(found, separators=(",", ":")) if found else None


def stored_limits_of_text(text: str | None) -> tuple[StoredLimit, ...]:
    """The limits that ``stored_limits_text`` wrote.

    Raises ValueError or TypeError for any other text: a limit that cannot be read must not be
    ignored.
    """
    return () if text is None else _stored_of_json(json.loads(text))


def account_limits_text(limits: AccountLimits) -> str | None:
    """The text of an account's limits in the database: JSON by mode, or None for no limits."""
    if limits == NO_ACCOUNT_LIMITS:
        return None
    found = {"live": _stored_json(limits.live), "test": _stored_json(limits.test)}
    return json.dumps(found, separators=(",", ":"))


def account_limits_of_text(text: str | None) -> AccountLimits:
    """The limits that ``account_limits_text`` wrote; raises as ``stored_limits_of_text``."""
    if text is None:
        return NO_ACCOUNT_LIMITS
    found = json.loads(text)
    if not isinstance(found, dict) or found.keys() != {"live", "test"}:
        raise ValueError("the limits of an account are those of the modes live and test")
    return AccountLimits(_stored_of_json(found["live"]), _stored_of_json(found["test"]))


def limit_of_json(given: Mapping[str, Any]) -> Limit:
    """The limit in the form of ``to_json``; raises ValueError, TypeError or KeyError."""
    if "rate" in given:
        return rate_limit(given["rate"], given["name"], given.get("burst"))
    return quota_limit(given["name"], given["quota"], given["period"], given.get("refill_on"))


def check_limit_name(name: str) -> str:
    """The name, if it is one for a limit; raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "the name of a limit has up to 32 lower-case letters, digits, _ and -, "
            "and begins with a letter"
        )
    return name


def _is_within(one: Limit, other: Limit) -> bool:
    """Whether a limit admits no more than another one, in any interval."""
    if isinstance(one, RateLimit) and isinstance(other, RateLimit):
        return one.interval >= other.interval and one.burst <= other.burst
    if isinstance(one, QuotaLimit) and isinstance(other, QuotaLimit):
        same = (one.period, one.refill_on) == (other.period, other.refill_on)
        return same and one.quota <= other.quota
    return False


def _stored_json(limits: Iterable[StoredLimit]) -> list[dict[str, Any]]:
    return [
        {"id": stored.id, "generation": stored.generation, **stored.limit.to_json()}
        for stored in limits
    ]


def _stored_of_json(found: Any) -> tuple[StoredLimit, ...]:
    try:
        return tuple(
            StoredLimit(int(one["id"]), limit_of_json(one), int(one["generation"])) for one in found
        )
    except KeyError as error:
        raise ValueError(f"a limit has no {error}") from None
