"""The names of the counters: of each worker, credential and proxy. They are never reset."""

from __future__ import annotations

from enum import IntEnum, auto, unique

from latchkey.box import _counters


@unique
class Count(IntEnum):
    """The index of each counter in a worker's block.

    The counters of the hit path come first, in one cache line. ``SCOPE`` counts authenticated
    requests whose key lacks a scope that the view requires. ``RATES_…`` and ``QUOTAS_…`` count each
    time that units are taken from limits of that kind.
    """

    AUTHENTICATED = _counters.AUTHENTICATED
    OPEN = _counters.OPEN
    CACHE_HIT = _counters.CACHE_HIT
    SHARED_HIT = _counters.SHARED_HIT
    STARTED = _counters.STARTED
    FINISHED = _counters.FINISHED
    RATES_ADMITTED = _counters.RATES_ADMITTED
    QUOTAS_ADMITTED = _counters.QUOTAS_ADMITTED
    MISSING = auto()
    INVALID = auto()
    REVOKED = auto()
    EXPIRED = auto()
    AMBIGUOUS = auto()
    TOO_MANY_FAILURES = auto()
    FAILED = auto()
    CACHE_MISS = auto()
    UNKNOWN_HIT = auto()
    STORE_SELECT = auto()
    STORE_ERROR = auto()
    FORGED = auto()
    SHARED_MISS = auto()
    EVICTED_KNOWN = auto()
    EVICTED_UNKNOWN = auto()
    UNCOUNTED = auto()
    SCOPE = auto()
    DISABLED = auto()
    NOT_YET_VALID = auto()
    ADDRESS = auto()
    ENDPOINT = auto()
    RATE_LIMITED = auto()
    QUOTA_EXCEEDED = auto()
    RATES_REFUSED = auto()
    QUOTAS_REFUSED = auto()


@unique
class Use(IntEnum):
    """The index of each field in a credential's row of ``Tallies``.

    ``LAST_USED`` and ``FIRST_USED`` are wall-clock milliseconds since 1970, 0 for never;
    ``SOURCE`` is a hash of the address of the last use. ``OBSERVED`` counts uses from outside the
    networks of a key that only observes them. All other fields count refusals of a correct secret.
    """

    USES = _counters.USES
    LAST_USED = _counters.LAST_USED
    REVOKED = auto()
    EXPIRED = auto()
    SCOPE = auto()
    FIRST_USED = _counters.FIRST_USED
    SOURCE = _counters.SOURCE
    DISABLED = auto()
    NOT_YET_VALID = auto()
    ADDRESS = auto()
    ENDPOINT = auto()
    OBSERVED = auto()
    RATE_LIMITED = auto()
    QUOTA_EXCEEDED = auto()


VERIFY_PROXIES = ("nginx", "traefik", "caddy", "envoy", "haproxy")
"""The kinds of proxies whose requests are counted apart, by outcome."""


@unique
class Verified(IntEnum):
    """The outcomes of a request that a proxy asked about."""

    ALLOWED = 0
    OPEN = auto()
    BAD_REQUEST = auto()
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    RATE_LIMITED = auto()
    FAILED = auto()


def verified_index(proxy: str, outcome: Verified) -> int:
    """The index of the counter of an outcome, in a worker's counters of proxies."""
    return VERIFY_PROXIES.index(proxy) * len(Verified) + outcome


class Gauge(IntEnum):
    """Current numbers of entries in a worker's own caches."""

    KNOWN = 0
    UNKNOWN = auto()
