"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass

REAL = 20_000
"""Credentials of each database, spread over all of it, that are presented."""
SMALL, MIDDLE, LARGE = 1_000, 100_000, 1_000_000


@dataclass(frozen=True)
class ScaleSettings:
    """Counts and seconds of a run."""

    credentials: tuple[int, int, int] = (SMALL, MIDDLE, LARGE)
    """Sizes of databases; the shared cache is measured with the second."""
    processes: int = 6
    """Measuring processes, one after another."""
    rounds: int = 20
    calls: int = 200
    """Single calls of each subject in a round."""
    shared_turns: int = 2
    """How often each credential is looked up in a shared cache before anything is timed."""
    workers: tuple[int, ...] = (1, 2)
    threads: tuple[int, ...] = (1, 2, 4, 8)
    seconds: int = 9
    """Of each number of workers and threads."""
    soak_seconds: int = 240
    soak_fresh: int = 20_000
    """Credentials that may be revoked in it."""
    requests: int = 0
    """Requests after which each of those ends, if it comes first; 0 for no such limit."""
    soak_warm: float = 1 / 2
    """Share of the soak after which memory is looked at: until then, caches fill."""


FULL = ScaleSettings()
QUICK = ScaleSettings(
    credentials=(SMALL, 10_000, 30_000),
    processes=1,
    rounds=4,
    calls=50,
    shared_turns=1,
    threads=(4,),
    seconds=1,
    soak_seconds=4,
    soak_fresh=1_000,
)


def real_every(count: int) -> int:
    """The distance between the credentials that are presented, of so many."""
    return max(1, count // REAL)
