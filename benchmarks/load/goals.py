"""The goals for the service under load, each decided by the results alone."""

from __future__ import annotations

from benchmarks.load.equivalence import MARGIN, is_void, judge
from benchmarks.load.results import Comparison, Loaded, LoadResults
from benchmarks.parts import (
    MET,
    MISSED,
    UNMEASURED,
    UNPROVED,
    Verdict,
    decide,
    format_estimate,
)

TAIL_BOUND = 1.05

_VOID = f"{UNPROVED}: void"
_STATES = {"proved": MET, "refuted": MISSED, "not proved": UNPROVED}


def verdicts(results: LoadResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    return [
        _equivalence(results),
        _tail(results),
        _none_after_revocation(results),
        _selects(results),
    ]


def ratio(comparison: Comparison) -> str:
    """The ratio of the means, to a tenth of a percent."""
    mean = comparison.mean
    return "" if mean is None else f"{mean.value:.4f} ({mean.low:.4f}–{mean.high:.4f})"


def _equivalence(results: LoadResults) -> Verdict:
    compared = results.main_comparison
    found = judge(results.alike_comparison.mean, compared.mean)
    measured = f"{ratio(compared)}; identical arms {ratio(results.alike_comparison)}"
    state = _VOID if found == "void" else _STATES[found]
    return Verdict(
        "mean latency under Locust, ratio of protected to open",
        f"within {MARGIN:.0%}, proved",
        measured,
        state,
    )


def _tail(results: LoadResults) -> Verdict:
    estimate = results.main_comparison.p99
    void = is_void(results.alike_comparison.mean)
    return Verdict(
        "p99 latency under Locust, ratio of protected to open",
        f"≤ {TAIL_BOUND:g}",
        format_estimate(estimate),
        _VOID if void else decide(estimate, TAIL_BOUND),
    )


def _none_after_revocation(results: LoadResults) -> Verdict:
    """A count, not an estimate: a single one misses the goal; zero is proved for this run only."""
    what, goal = "requests admitted after the response to their key's revocation", "none"
    found = _named(results, "revocations")
    if found is None or not found.revocations or "revoked" not in found.kinds:
        return Verdict(what, goal, "", UNMEASURED)
    tried = found.kinds["revoked"].count
    measured = (
        f"{found.violations} of {tried + found.violations:,}, after {found.revocations} revocations"
    )
    return Verdict(what, goal, measured, MISSED if found.violations else MET)


def _selects(results: LoadResults) -> Verdict:
    """Forged pairs must not reach the database."""
    what, goal = "SELECTs for forged secrets, mixed with valid ones", "none"
    found = _named(results, "forged")
    if found is None or not found.lookups["forged"]:
        return Verdict(what, goal, "", UNMEASURED)
    measured = f"{found.lookups['select']} for {found.lookups['forged']:,} forged"
    return Verdict(what, goal, measured, MISSED if found.lookups["select"] else MET)


def _named(results: LoadResults, name: str) -> Loaded | None:
    return next((each for each in results.scenarios if each.name == name), None)
