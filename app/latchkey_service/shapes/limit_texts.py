"""Limits as texts: as options of the command line, and in words."""

from __future__ import annotations

from collections.abc import Iterable

from latchkey.credentials.limits import (
    DEFAULT_NAME,
    QUOTA_PERIODS,
    Limit,
    QuotaLimit,
    RateLimit,
    quota_limit,
    rate_limit,
)

DEFAULT_QUOTA_NAME = "quota"
"""The name of a quota for which none is given. That of a rate is DEFAULT_NAME."""

_LONGEST_NUMBER = 15


def parse_rate_text(text: str) -> RateLimit:
    """The rate in a text as ``100/minute`` or ``name=100/minute,burst=20``; raises ValueError.

    The message never repeats the text.
    """
    name, rate, extras = _parts(text, DEFAULT_NAME, "burst")
    return rate_limit(rate, name, extras)


def parse_quota_text(text: str) -> QuotaLimit:
    """The quota in a text as ``1000000/month`` or ``name=1000000/month,refill_on=5``.

    Raises ValueError, whose message never repeats the text.
    """
    name, quota, refill_on = _parts(text, DEFAULT_QUOTA_NAME, "refill_on")
    number, _, period = quota.partition("/")
    if period not in QUOTA_PERIODS or not _is_number(number):
        raise ValueError("write a quota as 1000000/month; periods are day, month and total")
    return quota_limit(name, int(number), period, refill_on)


def readable_limit(limit: Limit) -> str:
    """The limit in words, without its name."""
    if isinstance(limit, RateLimit):
        burst = "" if limit.burst == limit.count else f", at most {limit.burst:,} at once"
        return f"{limit.count:,} per {limit.period}{burst}"
    if limit.period == "total":
        return f"quota of {limit.quota:,} in total"
    refill_on = "" if limit.refill_on == 1 else f", from day {limit.refill_on}"
    return f"quota of {limit.quota:,} per {limit.period}{refill_on}"


def readable_limits(limits: Iterable[Limit]) -> str:
    """The limits in words, each with its name."""
    return "; ".join(f"{limit.name}: {readable_limit(limit)}" for limit in limits)


def _parts(text: str, name: str, extra: str) -> tuple[str, str, int | None]:
    """The name, the amount with its period, and the value of the extra part, None if missing."""
    amount, comma, rest = text.strip().partition(",")
    given, equals, after = amount.partition("=")
    if equals:
        name, amount = given.strip(), after
    if not comma:
        return name, amount.strip(), None
    key, _, value = rest.partition("=")
    if key.strip() != extra or not _is_number(value.strip()):
        raise ValueError(f"after the comma, write {extra}=NUMBER")
    return name, amount.strip(), int(value)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
