"""The tables of the part ``limits``, and the figures in its prose."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.limits import goals
from benchmarks.limits.plan import LATCHKEY, PEERS, SUBJECTS
from benchmarks.limits.results import Cell, LimitsResults
from benchmarks.parts import Table, View, format_estimate, format_figure


def tables(results: LimitsResults) -> dict[str, Table]:
    """Every table by its name."""
    head = ["", "workers", "admitted", "allowed", "admitted / allowed", "refused"]
    numbers = sorted({cell.workers for cell in results.cells})
    rows = [
        _row(cell)
        for subject in SUBJECTS
        for workers in numbers
        if (cell := results.cell(subject, workers)) is not None
    ]
    return {"admitted": Table(head, rows)}


def _row(cell: Cell) -> list[str]:
    counted = cell.counted
    return [
        f"**{cell.subject}**" if cell.subject == LATCHKEY else cell.subject,
        f"{cell.workers}",
        f"{median(one.admitted for one in counted):,.0f}",
        f"{median(one.bound for one in counted):,.0f}",
        format_estimate(cell.share, " ×"),
        f"{median(one.refused for one in counted):,.0f}",
    ]


def words(results: LimitsResults) -> dict[str, str]:
    """The figures in the prose about this run."""
    most = max((cell.workers for cell in results.cells), default=0)
    ours = results.cell(LATCHKEY, most)
    peers = [
        cell.share.value
        for peer in PEERS
        if (cell := results.cell(peer, most)) is not None and cell.share is not None
    ]
    return {
        "limits_rate": f"{results.rate}",
        "limits_users": f"{results.users}",
        "limits_seconds": f"{results.seconds:g}",
        "limits_starts": f"{max((len(cell.counted) for cell in results.cells), default=0)}",
        "limits_workers": f"{most}",
        "flask_limiter": results.flask_limiter,
        "theirs_over": " and ".join(map(format_figure, peers)),
        "ours_over": "" if ours is None or ours.share is None else f"{ours.share.value:.4f}",
    }


def draw(results: LimitsResults, directory: Path) -> list[Path]:
    """There are no plots: the table has few rows."""
    return []


VIEW = View(LimitsResults, goals.verdicts, tables, words, draw, Path(__file__).with_name("page.md"))
