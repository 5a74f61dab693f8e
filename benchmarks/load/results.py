"""The form of ``load.json``: the results of each scenario, from which tables and plots are made."""

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
    """The count and the mean of each counted second."""


class Loaded(_Record):
    """The results of one scenario, from its clients and from the service's workers."""

    name: str
    about: str
    users: int
    client_processes: int
    workers: int
    threads: int
    settings: dict[str, str]
    """Settings of the service that differ from LoadSettings' defaults."""
    keys: int
    seconds: int
    """The number of counted seconds: complete ones after the warm-up."""
    requests: int
    """All requests that were sent, including those outside of the counted seconds."""
    rate: float
    """Requests per second, over the counted seconds."""
    server_cpu: float
    """CPU seconds of all workers per 1,000 requests, over all requests."""
    client_cpu: float
    """The same for the processes of the client."""
    lookups: dict[str, int]
    """How lookups were answered: ``cache``, ``shared``, ``select``, ``forged``."""
    errors: dict[str, int]
    kinds: dict[str, RequestKind]
    revocations: int = 0
    violations: int = 0


class Comparison(_Record):
    """The ratio of the latencies of two arms of one run."""

    arm: str
    base: str
    mean: Estimate | None
    p99: Estimate | None


class LoadResults(_Record):
    """The part's file."""

    version: int = 1
    cores: int
    pinned: bool
    """Whether client and server had separate cores."""
    alike: Loaded
    alike_comparison: Comparison
    main: Loaded
    main_comparison: Comparison
    bare_comparison: Comparison
    """Protected over the same view without Latchkey."""
    concurrent: Loaded
    concurrent_comparison: Comparison
    """The main scenario again, with more clients than the server can serve at the same time."""
    scenarios: list[Loaded]
    ceiling: list[Loaded]
    """The trivial endpoint, by the number of client processes."""


def kinds_of(kept: Recording) -> dict[str, RequestKind]:
    """The recorded requests, by kind."""
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
