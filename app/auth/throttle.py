"""Throttling: of refused credentials, by the caller's address. A good key is never held up.

The workers of a box count together, in windows of fixed length that begin for everybody at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from wsgiref.types import WSGIEnvironment

from app.errors import RateLimited
from fastcache import KeyedDigest, WindowTable

LARGEST_LIMIT = 999_999
"""The most failures that a window can be told to allow: what a slot of the table can count."""

_IPV6_HOST_BITS = 64
_LIMIT = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


class WindowLimit:
    """So many in a window of time, and counts of what there was, by anything.

    What is counted by is digested with a key, so that nobody can choose names that share a place
    in the table.
    """

    def __init__(
        self,
        limit: str,
        table: WindowTable,
        digest: KeyedDigest,
        timer: Callable[[], float] = time.monotonic,
        *,
        times: int = 1,
    ) -> None:
        """``limit`` is ``COUNT/second``, ``/minute``, ``/hour`` or ``/day``, or ``off``.

        COUNT is LARGEST_LIMIT at most; ValueError for anything else. ``times`` as many are
        allowed. ``timer`` gives seconds that are the same in all processes.
        """
        self._limit = self._window = 0
        if limit != "off":
            written = _LIMIT.fullmatch(limit)
            if written is None:
                raise ValueError(f"a limit is COUNT/second, /minute, /hour or /day, not {limit!r}")
            self._limit = min(int(written[1]) * times, LARGEST_LIMIT)
            self._window = _SECONDS[written[2]]
        self._table = table
        self._digest = digest
        self._timer = timer

    def count(self, name: str) -> None:
        """Count one of this name; raises RateLimited where that was one too many."""
        self.count_at(self.place_of(name))

    def place_of(self, name: str) -> int:
        """Where those of this name are counted."""
        return int.from_bytes(self._digest.digest(_encoded(name))[:8])

    def count_at(self, place: int) -> None:
        """``count``, where the place of the name is known."""
        if not self._limit:
            return
        window, elapsed = divmod(int(self._timer()), self._window)
        if self._table.hit(place, window, self._limit) > self._limit:
            raise RateLimited(self._window - elapsed)


class FailureThrottle:
    """Counts failures by address, and says when an address has had too many."""

    def __init__(
        self,
        limit: str,
        table: WindowTable,
        digest: KeyedDigest,
        trusted_proxies: int = 0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """As a WindowLimit, for callers behind so many proxies of ours."""
        by_address = WindowLimit(limit, table, digest, timer)
        self._count_at = by_address.count_at
        # Floods come from few addresses.
        self._place_of = lru_cache(maxsize=4_096)(
            lambda address: by_address.place_of(counted_address(address))
        )
        self._trusted_proxies = trusted_proxies

    def count_failure(self, environ: WSGIEnvironment) -> None:
        """Count one failure of the caller; raises RateLimited where that was one too many."""
        self._count_at(self._place_of(client_address(environ, self._trusted_proxies)))

    def client_address(self, environ: WSGIEnvironment) -> str | None:
        """Whom a request comes from, the whole address; None behind a socket without any."""
        return written_address(client_address(environ, self._trusted_proxies))


@lru_cache(maxsize=4_096)
def written_address(text: str) -> str | None:
    """An address in the one way of writing it, an IPv4 one as such; None if it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def caller_address(environ: WSGIEnvironment, trusted_proxies: int) -> str:
    """Whom failures are counted against; see ``counted_address``."""
    return counted_address(client_address(environ, trusted_proxies))


def counted_address(address: str) -> str:
    """What stands for an address where callers are counted: an IPv6 one's /64, any other itself."""
    return _network(address) or address


def client_address(environ: WSGIEnvironment, trusted_proxies: int) -> str:
    """Whom a request comes from.

    With ``trusted_proxies`` of ours in front it is that many from the right of
    ``X-Forwarded-For``; where the list is shorter or that is no address, the peer's.
    """
    peer: str = environ.get("REMOTE_ADDR", "")
    if trusted_proxies:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(forwarded) >= trusted_proxies:
            address: str = forwarded[-trusted_proxies].strip()
            if _network(address):
                return address
    return peer


@lru_cache(maxsize=4_096)
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


def _encoded(address: str) -> bytes:
    # What a server hands over as the peer's address may be any text.
    return address.encode("utf-8", "surrogatepass")
