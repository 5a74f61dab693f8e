"""The form of ``boxes.json``: the measurements, and the figures computed from them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Calls(_Record):
    """Single calls in one process; microseconds."""

    processes: list[dict[str, list[float]]]
    """The rounds of each process, by subject."""
    estimates: dict[str, Estimate]
    over_select: Estimate | None
    """A miss, as a multiple of a prepared SELECT of the same row."""
    added_to_hit: Estimate | None
    """Nanoseconds of a hit in addition to one with SQLite."""


class Revocations(_Record):
    """Revocations, each at another box than the one before; milliseconds until the answer."""

    taken: list[float]
    p50: Estimate | None
    p99: Estimate | None
    longest: float
    late: int
    """Requests at any box that were admitted although they began after the answer."""


class BoxesResults(_Record):
    """The results of the part."""

    version: int = 1
    server: str
    """The version of PostgreSQL."""
    boxes: int
    workers: int
    lease: float
    calls: Calls
    healthy: Revocations
    cut_off: Revocations
    """The first revocation after a box was stopped."""
