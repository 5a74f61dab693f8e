"""Whether two arms of a run take equally long: a block bootstrap over seconds, and two tests.

Disturbances of a machine last longer than a request, so requests close to each other are not
independent. Therefore whole seconds are drawn with replacement, with the requests of both arms.
Equivalence within a margin is proved if both one-sided tests reject. That is the case if the
interval of the ratio lies between 1 - margin and 1 + margin (Schuirmann 1987). With the 95 %
interval, each test has a level of 2.5 %.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from benchmarks.bootstrap import Estimate
from benchmarks.load.recording import Seconds

MARGIN = 0.01
RESAMPLES = 2_000
TAIL_RESAMPLES = 400

Equivalence = Literal["proved", "not proved", "refuted"]

_SEED = 20_240_229
_STEP = math.log(1.005)
"""The width of a bucket, half a percent: not wider than the uncertainty of a quantile."""


def ratio_of_means(seconds: Seconds, base: Seconds) -> Estimate | None:
    """The mean latency of one arm over that of the other; None if no second has both."""
    shared = sorted(seconds.keys() & base.keys())
    totals = [
        (math.fsum(seconds[each]), len(seconds[each]), math.fsum(base[each]), len(base[each]))
        for each in shared
    ]

    def ratio(weights: Mapping[int, int]) -> float:
        time, count, base_time, base_count = (
            sum(totals[place][column] * weight for place, weight in weights.items())
            for column in range(4)
        )
        return (time / count) / (base_time / base_count)

    return _estimate(len(shared), ratio, RESAMPLES)


def ratio_of_quantiles(seconds: Seconds, base: Seconds, share: float) -> Estimate | None:
    """The same ratio of a quantile, such as 0.99."""
    shared = sorted(seconds.keys() & base.keys())
    arms = [[_buckets(arm[each]) for each in shared] for arm in (seconds, base)]

    def ratio(weights: Mapping[int, int]) -> float:
        one, other = (_quantile_of(arm, weights, share) for arm in arms)
        return one / other

    return _estimate(len(shared), ratio, TAIL_RESAMPLES)


def is_void(alike: Estimate | None) -> bool:
    """Whether a run is unusable: two identical arms differ significantly."""
    return alike is None or not alike.low <= 1 <= alike.high


def judge(alike: Estimate | None, compared: Estimate | None) -> Equivalence | Literal["void"]:
    """The result of a comparison, given the comparison of two identical arms.

    It is void if the latter does not contain 1: then another cause makes a difference.
    """
    if is_void(alike):
        return "void"
    if compared is None:
        return "not proved"
    if compared.low > 1 + MARGIN or compared.high < 1 - MARGIN:
        return "refuted"
    within = compared.low > 1 - MARGIN and compared.high < 1 + MARGIN
    return "proved" if within else "not proved"


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest ordered sample that is not exceeded by this share of them."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _estimate(
    blocks: int, ratio: Callable[[Mapping[int, int]], float], resamples: int
) -> Estimate | None:
    if blocks == 0:
        return None
    rng = random.Random(_SEED)
    places = range(blocks)
    ordered = sorted(ratio(Counter(rng.choices(places, k=blocks))) for _ in range(resamples))
    edge = resamples // 40
    ends = (ratio(dict.fromkeys(places, 1)), ordered[edge], ordered[-1 - edge])
    value, low, high = (float(f"{end:.5g}") for end in ends)
    return Estimate(value=value, low=low, high=high)


def _buckets(samples: Sequence[float]) -> Counter[int]:
    return Counter(math.floor(math.log(each) / _STEP) for each in samples)


def _quantile_of(
    blocks: Sequence[Mapping[int, int]], weights: Mapping[int, int], share: float
) -> float:
    total: Counter[int] = Counter()
    for place, weight in weights.items():
        for bucket, count in blocks[place].items():
            total[bucket] += count * weight
    wanted = share * sum(total.values())
    below = 0
    for bucket in sorted(total):
        if below + total[bucket] >= wanted:
            # As if the samples were distributed evenly within their bucket.
            return math.exp((bucket + (wanted - below) / total[bucket]) * _STEP)
        below += total[bucket]
    raise ValueError("a quantile needs at least one sample")
