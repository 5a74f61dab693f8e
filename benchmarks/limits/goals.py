"""The goals for limited keys, each decided by the results alone."""

from __future__ import annotations

from benchmarks.limits.plan import LATCHKEY
from benchmarks.limits.results import LimitsResults
from benchmarks.parts import MET, MISSED, UNMEASURED, Verdict, decide, format_estimate

LEAST = 0.99


def verdicts(results: LimitsResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    ours = [cell for cell in results.cells if cell.subject == LATCHKEY]
    counted = [one for cell in ours for one in cell.counted]
    above = sum(one.admitted > one.bound for one in counted)
    largest = max(ours, key=lambda cell: cell.workers, default=None)
    share = None if largest is None else largest.share
    return [
        Verdict(
            "requests of a limited key that were admitted above the limit, over all workers",
            "none, in every start",
            f"in {above} of {len(counted)} starts" if counted else "",
            (MISSED if above else MET) if counted else UNMEASURED,
        ),
        Verdict(
            "admitted requests of a limited key relative to the limit, most workers",
            f"≥ {LEAST:g} ×",
            format_estimate(share, " ×"),
            decide(share, LEAST, at_least=True),
        ),
    ]
