"""Plots of the part ``boxes``."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.boxes.results import BoxesResults


def draw(results: BoxesResults, directory: Path) -> list[Path]:
    """Draw all plots."""
    return plots.draw({"boxes-revocations": lambda: _revocations(results)}, directory)


def _revocations(results: BoxesResults) -> Figure | None:
    """The share of revocations that are answered within a time."""
    taken = sorted(results.healthy.taken)
    if not taken:
        return None
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    shares = [100 * (place + 1) / len(taken) for place in range(len(taken))]
    axes.step(taken, shares, where="post", color=plots.OURS)
    axes.set_xscale("log")
    plots.plain(axes.xaxis)
    axes.set_ylim(0, 101)
    plots.title(axes, "Revocations answered, of 100, all boxes healthy", "ms")
    return figure
