"""Throttling of refused credentials, by the caller's address. A good key is never held up.

Until workers share memory, each worker counts by itself.
"""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address
from wsgiref.types import WSGIEnvironment

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from app.errors import RateLimited

_IPV6_HOST_BITS = 64


class FailureThrottle:
    """Counts failures by address, and says when an address has had too many."""

    def __init__(self, limit: str, trusted_proxies: int = 0) -> None:
        """``limit`` is ``COUNT/second``, ``/minute``, ``/hour`` or ``/day``, or ``off``."""
        self._limit = None if limit == "off" else parse(limit)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._trusted_proxies = trusted_proxies

    def count_failure(self, environ: WSGIEnvironment) -> None:
        """Count one failure of the caller; raises RateLimited where that was one too many."""
        if self._limit is None:
            return
        address = caller_address(environ, self._trusted_proxies)
        if not self._limiter.hit(self._limit, address):
            reset = self._limiter.get_window_stats(self._limit, address).reset_time
            raise RateLimited(max(1, math.ceil(reset - time.time())))


def caller_address(environ: WSGIEnvironment, trusted_proxies: int) -> str:
    """Whom a request comes from: an IPv4 address, or the /64 of an IPv6 one.

    With ``trusted_proxies`` of ours in front it is that many from the right of
    ``X-Forwarded-For``; where the list is shorter or that is no address, the peer's.
    """
    peer: str = environ.get("REMOTE_ADDR", "")
    if trusted_proxies:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(forwarded) >= trusted_proxies:
            return _network(forwarded[-trusted_proxies].strip()) or _network(peer) or peer
    return _network(peer) or peer


def _network(text: str) -> str | None:
    """The address that failures are counted by, or None if ``text`` is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        prefix = int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
        return f"{IPv6Address(prefix)}/64"
    return str(address)
