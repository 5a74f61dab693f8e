"""The attempts at one request: whether to send it again, after how long, and where to.

Nothing here knows an HTTP library.
"""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from latchkey.client.keys import CurrentKey

_PORTS = {"http": 80, "https": 443}
_TEMPORARY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Attempts:
    """The attempts at one request, and the key with which to send it."""

    def __init__(self, current: CurrentKey, max_retries: int, max_wait: float) -> None:
        """Allow ``max_retries`` retries, which wait ``max_wait`` seconds at most in all."""
        self._current = current
        self._retries = max_retries
        self._wait = max_wait
        self._renewed = False
        self.key = current.key

    def may_follow(self, status: int) -> bool:
        """Whether another attempt may follow this status. The key is not read again."""
        return (status == HTTPStatus.UNAUTHORIZED and not self._renewed) or (
            status in _TEMPORARY and self._retries > 0
        )

    def pause_after(self, status: int, retry_after: str | None) -> float | None:
        """The seconds to wait before the next attempt, or None if there is none.

        After a 401 the key is read again, once, and there is another attempt if it is another key.
        ``retry_after`` is the header. There is no attempt if it exceeds the rest of ``max_wait``.
        """
        if not self.may_follow(status):
            return None
        if status == HTTPStatus.UNAUTHORIZED:
            self._renewed = True
            if not self._current.renew(self.key):
                return None
            self.key = self._current.key
            return 0.0
        pause = seconds_in(retry_after)
        if pause is None or pause > self._wait:
            return None
        self._retries -= 1
        self._wait -= pause
        return pause


def may_carry_key(first: str, url: str) -> bool:
    """Whether the key of a request for one URL may be sent to another one.

    It may be sent within the origin, and from port 80 of HTTP to HTTPS of the same host.
    """
    here, there = urlsplit(first), urlsplit(url)
    if here.hostname != there.hostname:
        return False
    begun, led = ((one.scheme, one.port or _PORTS.get(one.scheme)) for one in (here, there))
    return begun == led or (begun, led) == (("http", 80), ("https", 443))


def seconds_in(retry_after: str | None) -> float | None:
    """The seconds to wait for a ``Retry-After`` header; None if it is missing or invalid."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        # The oldest of the allowed formats names no zone, and means UTC.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - time.time())
    except (ValueError, OverflowError):
        # The latter for numbers of any length in a date.
        return None
