"""The tables of the part ``load``, and the figures in its prose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.load import goals, plots
from benchmarks.load.equivalence import MARGIN, judge
from benchmarks.load.paths import BARE, OPEN, OPEN_TOO, PROTECTED
from benchmarks.load.requesting import REVOCATION_PAUSE
from benchmarks.load.results import Comparison, Loaded, LoadResults
from benchmarks.parts import Table, View, format_estimate, format_figure

_ARMS = {
    OPEN: "open",
    OPEN_TOO: "open, too",
    PROTECTED: "protected",
    BARE: "without Latchkey",
}
_HEAD = ("p50", "p90", "p99", "p99.9")


def tables(results: LoadResults) -> dict[str, Table]:
    """Every table by its name."""
    runs = [results.main, results.alike, results.concurrent]
    return {
        "arms": _arms(runs),
        "ratios": _ratios(results),
        "scenarios": _scenarios(results.scenarios),
        "lookups": _lookups(results.scenarios),
        "ceiling": _ceiling(results.ceiling),
    }


def words(results: LoadResults) -> dict[str, str]:
    """The figures in the prose about this run."""
    main = results.main
    return {
        "verdict": judge(results.alike_comparison.mean, results.main_comparison.mean),
        "margin": f"{MARGIN:.0%}",
        "requests": f"{main.requests:,}",
        "seconds": f"{main.seconds}",
        "users": f"{main.users}",
        "crowd": f"{results.concurrent.users}",
        "pinned": (
            "The client runs on the first core and the service on the others"
            if results.pinned
            else "Client and service share a single core"
        ),
        "busy": f"{main.server_cpu * main.rate / 1000:.0%}",
        "client_busy": f"{main.client_cpu * main.rate / 1000:.0%}",
        "most": f"{1000 / main.client_cpu:,.0f}" if main.client_cpu else "?",
        "revocation_rate": f"{1 / REVOCATION_PAUSE:.0f}",
        "errors": _errors([*results.scenarios, main, results.alike, results.concurrent]),
    }


def _arms(runs: Iterable[Loaded]) -> Table:
    rows = []
    for run in runs:
        for path, name in _ARMS.items():
            kind = run.kinds.get(path)
            if kind is not None:
                figures = (kind.mean, kind.p50, kind.p90, kind.p99, kind.p999)
                rows.append([run.about, name, f"{kind.count:,}", *map(format_figure, figures)])
    return Table(["run", "view", "requests", "mean, µs", *(f"{each}, µs" for each in _HEAD)], rows)


def _ratios(results: LoadResults) -> Table:
    compared = [
        (results.alike.about, results.alike_comparison),
        (results.main.about, results.main_comparison),
        (results.main.about, results.bare_comparison),
        (results.concurrent.about, results.concurrent_comparison),
    ]
    rows = [
        [about, _versus(each), goals.ratio(each), format_estimate(each.p99)]
        for about, each in compared
    ]
    return Table(["run", "ratio", "of means", "of p99"], rows)


def _versus(comparison: Comparison) -> str:
    return f"{_ARMS[comparison.arm]} / {_ARMS[comparison.base]}"


def _scenarios(scenarios: Iterable[Loaded]) -> Table:
    rows = []
    for run in scenarios:
        for place, (name, kind) in enumerate(run.kinds.items()):
            first = place == 0
            rows.append(
                [
                    run.name if first else "",
                    f"{run.rate:,.0f}" if first else "",
                    name,
                    *map(format_figure, (kind.p50, kind.p90, kind.p99, kind.p999)),
                    format_figure(run.server_cpu) if first else "",
                    f"{sum(run.errors.values()):,}" if first else "",
                ]
            )
    head = ["scenario", "requests/s", "kind", *(f"{each}, µs" for each in _HEAD)]
    return Table([*head, "server CPU s / 1,000", "errors"], rows)


def _lookups(scenarios: Iterable[Loaded]) -> Table:
    rows = [
        [
            run.name,
            run.about,
            f"{run.workers} × {run.threads}",
            f"{run.requests:,}",
            *(f"{run.lookups[each]:,}" for each in ("cache", "shared", "forged", "select")),
        ]
        for run in scenarios
    ]
    head = ["scenario", "requests for", "workers × threads", "requests"]
    return Table([*head, "own cache", "shared cache", "forged", "SELECTs"], rows)


def _ceiling(ceiling: Iterable[Loaded]) -> Table:
    rows = [
        [
            f"{run.client_processes}",
            f"{run.rate:,.0f}",
            f"{run.client_cpu * run.rate / 1000:.0%}",
            f"{run.server_cpu * run.rate / 1000:.0%}",
            format_figure(run.client_cpu),
            format_figure(run.server_cpu),
        ]
        for run in ceiling
    ]
    return Table(
        [
            "Locust processes",
            "requests/s",
            "client CPU, of a core",
            "server CPU, of a core",
            "client CPU s / 1,000",
            "server CPU s / 1,000",
        ],
        rows,
    )


def _errors(runs: Iterable[Loaded]) -> str:
    found = [f"{run.name}: {count} × {what}" for run in runs for what, count in run.errors.items()]
    return "; ".join(found) or "none"


VIEW = View(
    LoadResults, goals.verdicts, tables, words, plots.draw, Path(__file__).with_name("page.md")
)
