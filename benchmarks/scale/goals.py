"""The goals for growth, each decided by the results alone."""

from __future__ import annotations

from benchmarks.parts import (
    MET,
    MISSED,
    UNMEASURED,
    Verdict,
    decide,
    format_estimate,
)
from benchmarks.scale.plan import LARGE, SMALL
from benchmarks.scale.results import ScaleResults

MISS_BOUND = 1.3
GROWTH_BOUND = 1.0
"""Bytes per request; the smallest object that Python could leak has 16."""


def verdicts(results: ScaleResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    ratio = results.misses.over_smallest.get(str(LARGE))
    growth = results.soak.growth
    return [
        Verdict(
            f"a miss among {LARGE:,} credentials, relative to {SMALL:,}",
            f"≤ {MISS_BOUND:g} ×",
            format_estimate(ratio, " ×"),
            decide(ratio, MISS_BOUND),
        ),
        Verdict(
            "growth of the workers' memory in the soak test",
            f"≤ {GROWTH_BOUND:g} byte per request",
            format_estimate(growth, " B"),
            decide(growth, GROWTH_BOUND),
        ),
        _steady(results),
    ]


def _steady(results: ScaleResults) -> Verdict:
    """Counts without an interval: the maximum at the end against the maximum before."""
    soak = results.soak
    what, goal = "file descriptors and shared memory in the soak test", "no growth"
    counted = [
        place for place, when in enumerate(soak.times) if soak.warm <= when <= soak.times[-1] - 2
    ]
    if len(counted) < 4:
        return Verdict(what, goal, "", UNMEASURED)
    middle = len(counted) // 2
    measured, state = [], MET
    for name, figures in (("descriptors", soak.descriptors), ("bytes", soak.segment)):
        earlier = max(figures[place] for place in counted[:middle])
        later = max(figures[place] for place in counted[middle:])
        measured.append(f"{earlier:,} {name}, then {later:,}")
        if later > earlier:
            state = MISSED
    return Verdict(what, goal, "; ".join(measured), state)
