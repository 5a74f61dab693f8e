"""Times in UTC, to the millisecond: the current time, and RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# RFC 3339 section 5.6. A time without an offset is ambiguous, so it is refused.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def utc_now() -> datetime:
    """The wall clock in UTC, truncated to the milliseconds that the store keeps."""
    return to_the_millisecond(datetime.now(UTC))


def to_milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // _MILLISECOND


def to_milliseconds_or_none(moment: datetime | None) -> int | None:
    """Like ``to_milliseconds``; None stays None."""
    return None if moment is None else to_milliseconds(moment)


def from_milliseconds(milliseconds: int) -> datetime:
    """The moment in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def from_milliseconds_or_none(milliseconds: int | None) -> datetime | None:
    """Like ``from_milliseconds``; None stays None."""
    return None if milliseconds is None else from_milliseconds(milliseconds)


def parse_time(value: object) -> datetime:
    """A time in UTC, truncated to milliseconds, from RFC 3339 text."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time such as 2026-01-15T10:30:00Z")
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an existing date and time") from None
    return to_the_millisecond(moment)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-01-15T10:30:00.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_the_millisecond(moment: datetime) -> datetime:
    """The moment as it is stored: truncated to milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_the_millisecond_or_none(moment: datetime | None) -> datetime | None:
    """Like ``to_the_millisecond``; None stays None."""
    return None if moment is None else to_the_millisecond(moment)
