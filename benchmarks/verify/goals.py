"""The goals for `/verify`, each decided by the results alone."""

from __future__ import annotations

from benchmarks.parts import Verdict, decide, format_estimate
from benchmarks.verify.results import VerifyResults

BARE_BOUND = 0.95


def verdicts(results: VerifyResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    return [
        Verdict(
            "`/verify` on a hit, requests per second relative to a bare WSGI answer",
            f"≥ {BARE_BOUND:g} ×",
            format_estimate(results.over_bare, " ×"),
            decide(results.over_bare, BARE_BOUND, at_least=True),
        )
    ]
