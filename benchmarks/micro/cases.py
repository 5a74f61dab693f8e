"""What is measured: a case is one point of a plot, a job is what one process measures.

Plain dataclasses, so that a worker needs nothing but the standard library and the peers.
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
    """One question asked of every peer."""

    scenario: Scenario
    """``get`` and ``threads`` look up, ``set`` evicts, ``memory`` fills."""
    entries: int
    """Entries that the cache holds; also its capacity."""
    pattern: Pattern = "zipf"
    """How keys are drawn: by Zipf's law, from 64 hot ones, or keys never seen before."""
    hit_percent: int = 100
    """Share of lookups whose key is in the cache."""
    threads: int = 1
    """Threads that look up at the same time."""


@dataclass(frozen=True)
class MicroJob:
    """What one fresh process measures: several cases over caches that it fills once."""

    cases: tuple[Case, ...]
    peers: tuple[str, ...]
    rounds: int
    """Rounds that are kept: in each, every peer answers every case once, in random order."""
    warm_rounds: int
    """Rounds before them that are thrown away."""
    block: int
    """Calls timed together; for ``threads``, the calls of each thread."""
    prelude: int
    """Calls made just before them and not timed."""
    seed: int
    """Decides the order of the peers and the keys drawn."""
    interpreter: str = "default"
    """Label of the interpreter that runs it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> MicroJob:
        cases = tuple(Case(**case) for case in fields["cases"])
        return cls(**{**fields, "cases": cases, "peers": tuple(fields["peers"])})
