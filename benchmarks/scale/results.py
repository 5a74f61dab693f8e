"""The form of ``scale.json``: the measurements, and the figures computed from them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate
from benchmarks.load.results import Loaded


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Misses(_Record):
    """A miss, by the number of credentials; microseconds."""

    credentials: list[int]
    presented: dict[str, int]
    """The number of presented credentials, by the number of credentials."""
    seeding: dict[str, float]
    """Seconds for storing them."""
    processes: list[dict[str, list[float]]]
    """The rounds of each process, by the number of credentials."""
    selects: dict[str, float]
    """SELECTs per call."""
    estimates: dict[str, Estimate]
    over_smallest: dict[str, Estimate]
    """As a multiple of a miss with the fewest credentials."""


class Memory(_Record):
    """Bytes, by the number of credentials, after the presented ones were used."""

    credentials: int
    presented: int
    database: int
    segment: int
    """Shared memory, including use counts."""
    private: int
    """Own memory of the process that checked them, without shared memory."""


class Room(_Record):
    """A lookup in a shared cache of one size; microseconds, the mean of hits and misses."""

    name: str
    estimate: Estimate
    over_roomy: Estimate | None
    hits: float
    """The share of lookups that it answered."""
    selects: float
    evictions: float
    """Evictions per lookup."""


class Shared(_Record):
    """Shared caches with room for the whole working set, for a part of it, and for none of it."""

    distinct: int
    """The number of credentials in the working set."""
    processes: list[dict[str, list[float]]]
    rooms: list[Room]


class Soak(_Record):
    """The resources of a service, second by second, under a mixture of all requests."""

    load: Loaded
    warm: float
    """Seconds after which samples are counted."""
    times: list[float]
    private: list[int]
    """Own bytes of all workers."""
    resident: list[int]
    segment: list[int]
    descriptors: list[int]
    """Open descriptors in all workers; each client connection is one."""
    growth: Estimate | None
    """Own bytes of the workers, per request."""


class ScaleResults(_Record):
    """The results of the part."""

    version: int = 1
    cores: int
    misses: Misses
    memory: list[Memory]
    shared: Shared
    grid: list[Loaded]
    """Throughput by workers and threads."""
    soak: Soak
