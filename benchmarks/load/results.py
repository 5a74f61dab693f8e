"""The form of ``load.json``: what each scenario came to. Tables and plots need nothing else."""

from __future__ import annotations

import math
from array import array

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate
from benchmarks.load.equivalence import quantile
from benchmarks.load.recording import Recording


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RequestKind(_Record):
    """Requests of one kind in one scenario; latencies in microseconds."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    by_second: list[list[float]]
    """Count and mean of each second that was kept."""


class Loaded(_Record):
    """One scenario, as its clients and the service's workers have it."""

    name: str
    about: str
    users: int
    client_processes: int
    workers: int
    threads: int
    settings: dict[str, str]
    """LoadSettings of the service that are not its defaults."""
    keys: int
    seconds: int
    """Seconds that were kept: full ones, after the warm-up."""
    requests: int
    """All that were sent, also outside those seconds, and those of which nothing is kept."""
    rate: float
    """Requests in a second, over the seconds kept."""
    server_cpu: float
    """CPU seconds of all workers for 1,000 requests, over all requests."""
    client_cpu: float
    """The same of the client's processes."""
    lookups: dict[str, int]
    """What answered for a credential: ``cache``, ``shared``, ``select``, ``forged``."""
    errors: dict[str, int]
    kinds: dict[str, RequestKind]
    revocations: int = 0
    violations: int = 0


class Comparison(_Record):
    """One arm's latencies over the other's in one run."""

    arm: str
    base: str
    mean: Estimate | None
    p99: Estimate | None


class LoadResults(_Record):
    """The part's file."""

    version: int = 1
    cores: int
    pinned: bool
    """Whether client and server had cores of their own."""
    alike: Loaded
    alike_comparison: Comparison
    main: Loaded
    main_comparison: Comparison
    bare_comparison: Comparison
    """Protected over the same view without Latchkey."""
    concurrent: Loaded
    concurrent_comparison: Comparison
    """The main scenario again, with more clients than the server can serve at a time."""
    scenarios: list[Loaded]
    ceiling: list[Loaded]
    """The trivial endpoint, by processes of the client."""


def kinds_of(kept: Recording) -> dict[str, RequestKind]:
    """What was kept, by kind of request."""
    return {name: _kind(kind) for name, kind in sorted(kept.latencies.items()) if kind}


def _kind(seconds: dict[int, array[float]]) -> RequestKind:
    ordered = sorted(each for second in seconds.values() for each in second)
    p50, p90, p99, p999 = (round(quantile(ordered, share), 1) for share in (0.5, 0.9, 0.99, 0.999))
    return RequestKind(
        count=len(ordered),
        mean=round(math.fsum(ordered) / len(ordered), 2),
        p50=p50,
        p90=p90,
        p99=p99,
        p999=p999,
        by_second=[
            [len(each), round(math.fsum(each) / len(each), 2)]
            for _, each in sorted(seconds.items())
        ],
    )
