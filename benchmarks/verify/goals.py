"""The goals for `/verify`, each decided by the results alone."""

from __future__ import annotations

from benchmarks.parts import Verdict, decide, format_estimate
from benchmarks.verify.results import VerifyResults

BARE_BOUND = 0.95
EMPTY_BOUND = 0.95
TAIL_BOUND = 1.1


def verdicts(results: VerifyResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    return [
        Verdict(
            "`/verify` on a hit, requests per second relative to a bare WSGI answer",
            f"≥ {BARE_BOUND:g} ×",
            format_estimate(results.over_bare, " ×"),
            decide(results.over_bare, BARE_BOUND, at_least=True),
        ),
        Verdict(
            "nginx with Latchkey, requests per second relative to nginx with an empty answer",
            f"≥ {EMPTY_BOUND:g} ×",
            format_estimate(results.over_empty, " ×"),
            decide(results.over_empty, EMPTY_BOUND, at_least=True),
        ),
        Verdict(
            "nginx with Latchkey, p99 latency relative to nginx with an empty answer",
            f"≤ {TAIL_BOUND:g} ×",
            format_estimate(results.tail_over_empty, " ×"),
            decide(results.tail_over_empty, TAIL_BOUND),
        ),
    ]
