"""What is measured: a case is one point of a plot, a job is the work of one process.

Plain dataclasses, so that a worker needs only the standard library and the peers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Scenario = Literal["get", "set", "threads", "memory"]
Pattern = Literal["zipf", "hot", "new"]

HOT_KEYS = 64
ZIPF_EXPONENT = 0.99


@dataclass(frozen=True, order=True)
class Case:
    """One measurement that is made for every peer."""

    scenario: Scenario
    """``get`` and ``threads`` do lookups, ``set`` evicts, ``memory`` fills a cache."""
    entries: int
    """The number of entries, and the capacity of the cache."""
    pattern: Pattern = "zipf"
    """How keys are drawn: by Zipf's law, from 64 hot ones, or keys never seen before."""
    hit_percent: int = 100
    """The percentage of lookups whose key is in the cache."""
    threads: int = 1
    """The number of threads that do lookups at the same time."""


@dataclass(frozen=True)
class MicroJob:
    """The work of one fresh process: several cases, with caches that are filled once."""

    cases: tuple[Case, ...]
    peers: tuple[str, ...]
    rounds: int
    """Counted rounds: in each, every peer is measured once for every case, in random order."""
    warm_rounds: int
    """Warm-up rounds that are discarded."""
    block: int
    """Calls that are timed together; for ``threads``, the calls of each thread."""
    prelude: int
    """Untimed calls immediately before them."""
    seed: int
    """Determines the order of the peers and the drawn keys."""
    interpreter: str = "default"
    """The label of the interpreter that runs the job."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> MicroJob:
        cases = tuple(Case(**case) for case in fields["cases"])
        return cls(**{**fields, "cases": cases, "peers": tuple(fields["peers"])})
