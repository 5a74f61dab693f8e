"""The extent of the measurements."""

from __future__ import annotations

from dataclasses import dataclass

REAL = 20_000
"""The number of presented credentials of each database, spread over all of it."""
SMALL, MIDDLE, LARGE = 1_000, 100_000, 1_000_000


@dataclass(frozen=True)
class ScaleSettings:
    """The counts and seconds of a run."""

    credentials: tuple[int, int, int] = (SMALL, MIDDLE, LARGE)
    """Sizes of databases; the shared cache is measured with the second one."""
    processes: int = 6
    """Measuring processes, one after another."""
    rounds: int = 20
    calls: int = 200
    """The number of single calls of each subject in a round."""
    shared_turns: int = 2
    """How often each credential is looked up in a shared cache before the measurement."""
    workers: tuple[int, ...] = (1, 2)
    threads: tuple[int, ...] = (1, 2, 4, 8)
    seconds: int = 9
    """Seconds for each number of workers and threads."""
    soak_seconds: int = 240
    soak_fresh: int = 20_000
    """Credentials that may be revoked during the soak test."""
    requests: int = 0
    """Requests after which each of these ends, if that is earlier; 0 for no limit."""
    soak_warm: float = 1 / 2
    """The share of the soak test before memory is measured, because caches fill until then."""


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
    """The distance between presented credentials, if there are `count`."""
    return max(1, count // REAL)
