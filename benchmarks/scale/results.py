"""The form of ``scale.json``: what was measured, and what was computed from it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate
from benchmarks.load.results import Loaded


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Misses(_Record):
    """A miss by the number of credentials; microseconds."""

    credentials: list[int]
    presented: dict[str, int]
    """How many of them were presented, by their number."""
    seeding: dict[str, float]
    """Seconds that it took to store them."""
    processes: list[dict[str, list[float]]]
    """Each process's rounds, by the number of credentials."""
    selects: dict[str, float]
    """SELECTs for each call."""
    estimates: dict[str, Estimate]
    over_smallest: dict[str, Estimate]
    """As a multiple of a miss among the fewest."""


class Memory(_Record):
    """Bytes, by the number of credentials, after those that are presented have been used."""

    credentials: int
    presented: int
    database: int
    segment: int
    """Of the shared memory, use counts included."""
    private: int
    """Of the process that checked them, beyond what is shared."""


class Room(_Record):
    """A lookup in a shared cache of some size; microseconds, the mean of hits and misses."""

    name: str
    estimate: Estimate
    over_roomy: Estimate | None
    hits: float
    """Share of the lookups that it answered."""
    selects: float
    evictions: float
    """Evictions for each lookup."""


class Shared(_Record):
    """Shared caches with room for all of the working set, for a part of it, and none."""

    distinct: int
    """Credentials in the working set."""
    processes: list[dict[str, list[float]]]
    rooms: list[Room]


class Soak(_Record):
    """What a service held, second by second, while it was asked for a mixture of everything."""

    load: Loaded
    warm: float
    """Seconds after which samples count."""
    times: list[float]
    private: list[int]
    """Bytes of all workers that are their own."""
    resident: list[int]
    segment: list[int]
    descriptors: list[int]
    """Open in all workers; each client's connection is one."""
    growth: Estimate | None
    """Bytes of the workers' own memory, for each request."""


class ScaleResults(_Record):
    """The part's file."""

    version: int = 1
    cores: int
    misses: Misses
    memory: list[Memory]
    shared: Shared
    grid: list[Loaded]
    """Throughput by workers and threads."""
    soak: Soak
