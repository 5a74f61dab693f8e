"""Hits of keys with limits: alone, and while other processes use the same key."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

from benchmarks.overhead.timing import Environ, ignore
from latchkey.box.shared import SharedState
from latchkey.box.sightings import Sightings
from latchkey.check._check import Check
from latchkey.check._entry import CacheEntry
from latchkey.check._gate import Gate
from latchkey.check.authenticator import Authenticator
from latchkey.check.open_routes import OpenRoutes
from latchkey.credentials.kinds import Sources
from latchkey.credentials.limits import Limit, quota_limit, rate_limit
from latchkey.credentials.tokens import lookup_key

RATE: tuple[Limit, ...] = (rate_limit("1000000/second", burst=10**12),)
"""A rate that no series of calls reaches."""
RATE_AND_QUOTA: tuple[Limit, ...] = (*RATE, quota_limit("monthly", 10**12, "month"))

OTHERS = 3
"""The other processes that use the same key; a worker for each of four cores."""

_NEVER = 65_535


def grant_all(authenticator: Authenticator, secrets: Sequence[str]) -> None:
    """Publish the quotas of these keys as granted, so that no call reserves units."""
    tables = authenticator.shared.limits
    for secret in secrets:
        entry = _entry(authenticator, secret)
        for stored in () if entry.limits is None else entry.limits.limits:
            if not tables.make_room("quotas", stored.id):
                raise MemoryError("there is no room for the quotas of the benchmark")
            tables.quotas.publish(stored.id, 1, stored.generation, 10**12, _NEVER)


@contextmanager
def used_by_others(
    authenticator: Authenticator,
    sources: Sources,
    reopened: Callable[[], SharedState],
    secret: str,
    environ: Callable[[], Environ],
    open_routes: OpenRoutes,
) -> Iterator[None]:
    """Other processes that send requests with this secret all the time."""
    entry = _entry(authenticator, secret)
    pids = []
    for _ in range(OTHERS):
        pid = os.fork()
        if pid == 0:
            try:
                _use(Authenticator(sources, reopened()), entry, secret, environ, open_routes)
            finally:
                os._exit(1)
        pids.append(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _entry(authenticator: Authenticator, secret: str) -> CacheEntry:
    entry = authenticator.known.get(lookup_key(secret))
    if entry is None:
        raise LookupError("the key was not used before")
    return entry


def _use(
    authenticator: Authenticator,
    entry: CacheEntry,
    secret: str,
    environ: Callable[[], Environ],
    open_routes: OpenRoutes,
) -> None:
    authenticator.known.put(lookup_key(secret), entry)
    check = Check(
        authenticator,
        known=authenticator.compiled,
        open_routes=open_routes,
        sightings=Sightings(authenticator.shared),
    )
    policy: Any = None
    start: Any = ignore
    gate = Gate(nothing, check, policy)
    parent = os.getppid()
    prepared = [environ() for _ in range(64)]
    for number, each in enumerate(cycle(prepared)):
        gate(dict(each), start)
        if number % 100_000 == 0 and os.getppid() != parent:
            return


def nothing(environ: Environ, start_response: Any) -> list[bytes]:
    """An application that answers nothing."""
    return []
