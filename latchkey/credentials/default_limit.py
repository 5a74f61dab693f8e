"""The default limit, a rate that a setting gives as a text."""

from __future__ import annotations

from latchkey.credentials.limits import DEFAULT_NAME, RateLimit, rate_limit

_BURST = ",burst="


def parse_default_limit(text: str) -> RateLimit | None:
    """The rate in ``100/minute`` or ``100/minute,burst=20``; None for an empty text.

    Raises ValueError.
    """
    if not text:
        return None
    rate, separator, burst = text.partition(_BURST)
    if not separator:
        return rate_limit(rate)
    if not (burst.isascii() and burst.isdigit()) or burst.startswith("0"):
        raise ValueError("write the burst as a whole number")
    return rate_limit(rate, DEFAULT_NAME, int(burst))
