"""The form of ``verify.json``: the measurements, and the figures computed from them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Subject(_Record):
    """One subject over all rounds."""

    rate: Estimate | None
    """Requests per second."""
    p50: Estimate | None
    """Microseconds, as the next one."""
    p99: Estimate | None


class VerifyResults(_Record):
    """The results of the part."""

    version: int = 1
    nginx: str
    """The version of nginx."""
    users: int
    requests: int
    """The requests of each subject in a round."""
    rates: list[dict[str, list[float]]]
    """The requests per second of each round, by subject, for each start of the servers."""
    p50: list[dict[str, list[float]]]
    p99: list[dict[str, list[float]]]
    subjects: dict[str, Subject]
    over_bare: Estimate | None
    """The rate of /verify relative to that of the bare answer."""
    envoy_over_bare: Estimate | None
    """The same for the route of Envoy, whose every request is decided in Python."""
    ruled_over_bare: Estimate | None
    """The same for a service with a routes file."""
    over_empty: Estimate | None
    """The rate of nginx with Latchkey relative to nginx with an empty answer."""
    headers_over_empty: Estimate | None
    """The same for a bare answer with the headers of Latchkey in place of Latchkey."""
    tail_over_empty: Estimate | None
    """The p99 latency of nginx with Latchkey relative to nginx with an empty answer."""
    over_alone: Estimate | None
