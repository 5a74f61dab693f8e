"""The goals for several boxes, each decided by the results alone."""

from __future__ import annotations

from benchmarks.boxes.results import BoxesResults
from benchmarks.parts import MET, MISSED, UNMEASURED, Verdict, decide, format_estimate

MISS_BOUND = 1.3
HIT_BOUND = 5.0
"""Nanoseconds."""
P50_BOUND, P99_BOUND = 15.0, 250.0
"""Milliseconds; the second one is also allowed in addition to a lease."""


def verdicts(results: BoxesResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    calls, healthy, cut_off = results.calls, results.healthy, results.cut_off
    cut_off_bound = 1000 * results.lease + P99_BOUND
    late = healthy.late + cut_off.late
    revoked = len(healthy.taken) + len(cut_off.taken)
    return [
        Verdict(
            "PostgreSQL: a miss, relative to a prepared SELECT",
            f"≤ {MISS_BOUND:g} ×",
            format_estimate(calls.over_select, " ×"),
            decide(calls.over_select, MISS_BOUND),
        ),
        Verdict(
            "PostgreSQL: a hit, more than with SQLite",
            f"≤ {HIT_BOUND:g} ns",
            format_estimate(calls.added_to_hit, " ns"),
            decide(calls.added_to_hit, HIT_BOUND),
        ),
        Verdict(
            f"a revocation with {results.boxes} healthy boxes, p50",
            f"≤ {P50_BOUND:g} ms",
            format_estimate(healthy.p50, " ms"),
            decide(healthy.p50, P50_BOUND),
        ),
        Verdict(
            f"a revocation with {results.boxes} healthy boxes, p99",
            f"≤ {P99_BOUND:g} ms",
            format_estimate(healthy.p99, " ms"),
            decide(healthy.p99, P99_BOUND),
        ),
        Verdict(
            "a revocation with one box cut off, the longest",
            f"≤ the lease of {results.lease:g} s + {P99_BOUND:g} ms",
            f"{cut_off.longest:,.0f} ms",
            MET if cut_off.longest <= cut_off_bound else MISSED,
        )
        if cut_off.taken
        else Verdict("a revocation with one box cut off, the longest", "", "", UNMEASURED),
        Verdict(
            "requests admitted by any box after the response to their key's revocation",
            "none",
            f"{late} after {revoked:,} revocations",
            MET if late == 0 else MISSED,
        ),
    ]
