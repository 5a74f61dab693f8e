"""The goals that concern one call, each decided by the results alone."""

from __future__ import annotations

from benchmarks.bootstrap import Estimate
from benchmarks.overhead.results import Results
from benchmarks.parts import Verdict, decide, format_estimate

HIT = "the check on a hit, bearer scheme, over an application that does nothing"


def verdicts(results: Results) -> list[Verdict]:
    """All goals, in the order of the table."""

    def within(what: str, microseconds: float, added: Estimate | None) -> Verdict:
        figure = None if added is None else in_microseconds(added)
        goal = f"≤ {microseconds:.2f} µs" if microseconds < 1 else f"≤ {microseconds:g} µs"
        return Verdict(what, goal, format_estimate(figure, " µs"), decide(figure, microseconds))

    def below(what: str, percent: float, share: Estimate | None) -> Verdict:
        measured = format_estimate(share, " %")
        return Verdict(what, f"≤ {percent:g} %", measured, decide(share, percent))

    return [
        within(HIT, 0.30, results.added("hits", "bearer")),
        below("the same, of a bare Flask request", 0.75, results.share("hits", "bearer", "flask")),
        within("the same, pair scheme", 0.40, results.added("hits", "pair")),
        within(
            "metrics on top of the check, over an application that calls `start_response`",
            0.20,
            results.added("metrics", "check, metrics", over="check"),
        ),
        below(
            "check and metrics together, in front of Flask",
            2,
            results.share("flask", "check, metrics"),
        ),
        within("a hit in the cache between workers", 1.5, results.added("ways", "shared cache")),
        within("a miss: one SELECT", 60, results.added("ways", "miss")),
        within("a forged pair: no database access", 6, results.added("ways", "forged pair")),
    ]


def in_microseconds(estimate: Estimate) -> Estimate:
    """The same figure, from nanoseconds."""
    return Estimate(
        value=estimate.value / 1_000, low=estimate.low / 1_000, high=estimate.high / 1_000
    )
