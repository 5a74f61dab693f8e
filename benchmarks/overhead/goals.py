"""The goals for a single call, each decided by the results alone."""

from __future__ import annotations

from benchmarks.bootstrap import Estimate
from benchmarks.overhead.limited import OTHERS
from benchmarks.overhead.results import BARE, OverheadResults
from benchmarks.parts import Verdict, decide, format_estimate

HIT = "a hit, bearer scheme, in front of an application that does nothing"


def verdicts(results: OverheadResults) -> list[Verdict]:
    """All goals, in the order of the table."""

    def within(
        what: str, microseconds: float, series: str, subject: str, over: str = BARE
    ) -> Verdict:
        figure = in_microseconds(results.added(series, subject, over))
        scaled = in_microseconds(results.by_yardstick(series, subject, over))
        goal = f"≤ {microseconds:.2f} µs" if microseconds < 1 else f"≤ {microseconds:g} µs"
        measured, state = format_estimate(figure, " µs"), decide(figure, microseconds)
        # The speed of the machine must not decide: only ratios within one run can be compared.
        if scaled is not None:
            measured += f"; by the yardstick {format_estimate(scaled)}"
            state += f"; by the yardstick {decide(scaled, microseconds)}"
        return Verdict(what, goal, measured, state)

    def below(what: str, percent: float, share: Estimate | None) -> Verdict:
        measured = format_estimate(share, " %")
        return Verdict(what, f"≤ {percent:g} %", measured, decide(share, percent))

    return [
        within(HIT, 0.30, "hits", "bearer"),
        below("its share of a bare Flask request", 0.75, results.share("hits", "bearer", "flask")),
        within("a hit, pair scheme", 0.40, "hits", "pair"),
        within(
            "metrics in addition, in front of an application that calls `start_response`",
            0.20,
            "metrics",
            "check, metrics",
            "check",
        ),
        below(
            "check and metrics together, in front of Flask",
            2,
            results.share("flask", "check, metrics"),
        ),
        within("a hit in the cache between workers", 1.5, "ways", "shared cache"),
        within("a miss: one SELECT", 60, "ways", "miss"),
        within("a forged pair: no database access", 6, "ways", "forged pair"),
        within("a hit of the ASGI middleware", 15, "asgi", "ASGI hit"),
        within("an open route, if only parts are protected", 0.10, "hits", "outside"),
        within(
            "a rate limit, in addition to a hit", 0.06, "limits", "rate, bearer", "plain, bearer"
        ),
        within(
            f"the same with {OTHERS + 1} processes on one key",
            0.25,
            "contended",
            "rate, one key",
            "plain, bearer",
        ),
    ]


def in_microseconds(estimate: Estimate | None) -> Estimate | None:
    """The same figure, converted from nanoseconds."""
    if estimate is None:
        return None
    return Estimate(
        value=estimate.value / 1_000, low=estimate.low / 1_000, high=estimate.high / 1_000
    )
