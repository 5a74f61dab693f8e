"""Growth over time: a line fitted to samples, and the confidence interval of its slope."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

from benchmarks.bootstrap import Estimate

RESAMPLES = 1_000
BLOCK = 10
"""The number of samples in a block, drawn together, because resources change in lasting steps."""

_SEED = 20_240_229

Sample = tuple[float, float]
"""The time and the value."""


def slope(samples: Sequence[Sample]) -> Estimate | None:
    """Growth per unit of time with its 95 % interval; None for fewer than three blocks.

    Least squares; the interval is a bootstrap that draws blocks of samples with their times.
    """
    blocks = [samples[at : at + BLOCK] for at in range(0, len(samples), BLOCK)]
    if len(blocks) < 3:
        return None
    rng = random.Random(_SEED)
    drawn = sorted(_fit(list(chain(*rng.choices(blocks, k=len(blocks))))) for _ in range(RESAMPLES))
    edge = RESAMPLES // 40
    ends = (_fit(samples), drawn[edge], drawn[-1 - edge])
    value, low, high = (float(f"{end:.5g}") for end in ends)
    return Estimate(value=value, low=low, high=high)


def _fit(samples: Sequence[Sample]) -> float:
    """The least-squares slope; 0 if all samples have the same time."""
    count = len(samples)
    middle = sum(time for time, _ in samples) / count
    level = sum(figure for _, figure in samples) / count
    spread = sum((time - middle) ** 2 for time, _ in samples)
    if spread == 0:
        return 0.0
    return sum((time - middle) * (figure - level) for time, figure in samples) / spread
