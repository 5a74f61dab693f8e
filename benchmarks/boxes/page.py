"""The tables of the part ``boxes``, and the figures in its prose."""

from __future__ import annotations

from pathlib import Path

from benchmarks.boxes import goals, plots
from benchmarks.boxes.plan import HIT, HIT_SQLITE, MISS, SELECT
from benchmarks.boxes.results import BoxesResults, Revocations
from benchmarks.parts import Table, View, format_estimate, format_figure

_SUBJECTS = {
    SELECT: "a prepared SELECT by psycopg, on a connection that stays open",
    MISS: "a miss",
    HIT_SQLITE: "a hit, with SQLite",
    HIT: "a hit",
}


def tables(results: BoxesResults) -> dict[str, Table]:
    """Every table by its name."""
    rows = [
        [text, format_estimate(results.calls.estimates.get(name))]
        for name, text in _SUBJECTS.items()
    ]
    return {
        "calls": Table(["", "a call, µs"], rows),
        "revocations": Table(
            ["boxes", "revocations", "p50, ms", "p99, ms", "longest, ms"],
            [
                _row(f"{results.boxes} healthy", results.healthy),
                _row("one of them stopped", results.cut_off),
            ],
        ),
    }


def words(results: BoxesResults) -> dict[str, str]:
    """The figures in the prose about this run."""
    return {
        "boxes": f"{results.boxes}",
        "box_workers": f"{results.workers}",
        "lease": f"{results.lease:g}",
        "server": results.server,
        "box_processes": f"{len(results.calls.processes)}",
        "late": f"{results.healthy.late + results.cut_off.late}",
    }


def _row(what: str, revocations: Revocations) -> list[str]:
    return [
        what,
        f"{len(revocations.taken):,}",
        format_estimate(revocations.p50),
        format_estimate(revocations.p99),
        format_figure(revocations.longest),
    ]


VIEW = View(
    BoxesResults, goals.verdicts, tables, words, plots.draw, Path(__file__).with_name("page.md")
)
