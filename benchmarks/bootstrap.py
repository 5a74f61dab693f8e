"""Medians over several processes, with confidence intervals.

Each process gives one figure per round. The estimate of a process is the median of its rounds, and
the result is the median of the processes. The 95 % interval is a bootstrap over both levels:
processes are drawn with replacement, then rounds within each. Figures that are compared are drawn
together, so that a ratio always has figures from the same rounds of the same processes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict

RESAMPLES = 1_000
_SEED = 20_240_229


class Estimate(BaseModel):
    """A figure and its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float


Process = Mapping[str, Sequence[float]]
"""The figures of each subject in one process; all have the same length."""
Statistic = Callable[[Mapping[str, float]], float]
"""Computes a figure from the subjects' medians in one process."""


class Bootstrap:
    """The medians of a set of processes, as measured and as resampled."""

    def __init__(self, processes: Sequence[Process], resamples: int = RESAMPLES) -> None:
        self._measured = [_medians(process) for process in processes]
        rng = random.Random(_SEED)
        self._resampled = [_resample(processes, rng) for _ in range(resamples)]

    def estimate(self, statistic: Statistic, *subjects: str) -> Estimate | None:
        """A statistic of these subjects, over the processes that have all of them.

        A subject is drawn in the same way for every statistic. ``None`` if no process has them.
        """
        value = _over(self._measured, statistic, subjects)
        if value is None:
            return None
        drawn = (_over(medians, statistic, subjects) for medians in self._resampled)
        ordered = sorted(one for one in drawn if one is not None)
        edge = len(ordered) // 40
        ends = (value, ordered[edge], ordered[-1 - edge])
        # Five digits: more than the width of any interval justifies.
        shown, low, high = (float(f"{figure:.5g}") for figure in ends)
        return Estimate(value=shown, low=low, high=high)


def _medians(process: Process) -> dict[str, float]:
    return {name: median(figures) for name, figures in process.items()}


def _resample(processes: Sequence[Process], rng: random.Random) -> list[dict[str, float]]:
    drawn = []
    for process in rng.choices(processes, k=len(processes)):
        rounds = len(next(iter(process.values()), ()))
        places = rng.choices(range(rounds), k=rounds)
        drawn.append(
            {
                name: median([figures[place] for place in places])
                for name, figures in process.items()
            }
        )
    return drawn


def _over(
    medians: Sequence[Mapping[str, float]], statistic: Statistic, subjects: Sequence[str]
) -> float | None:
    figures = [statistic(one) for one in medians if all(name in one for name in subjects)]
    return median(figures) if figures else None
