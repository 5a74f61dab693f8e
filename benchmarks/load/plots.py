"""Plots of the part ``load``."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.load.equivalence import MARGIN
from benchmarks.load.paths import BARE, OPEN, PROTECTED
from benchmarks.load.results import LoadResults


def draw(results: LoadResults, directory: Path) -> list[Path]:
    """Draw all plots."""
    return plots.draw(
        {
            "load-ratios": lambda: _ratios(results),
            "load-latencies": lambda: _latencies(results),
        },
        directory,
    )


def _ratios(results: LoadResults) -> Figure:
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    compared = [
        ("the same with the same", results.alike_comparison, plots.GREY),
        ("protected / open", results.main_comparison, plots.OURS),
        ("protected / without Latchkey", results.bare_comparison, plots.BLUE),
        ("protected / open, more clients", results.concurrent_comparison, plots.SKY),
    ]
    rows = [
        plots.Dot(name, each.mean, color, f"{each.mean.value:.4f}")
        for name, each, color in compared
        if each.mean is not None
    ]
    plots.dots(axes, rows)
    axes.axvspan(1 - MARGIN, 1 + MARGIN, color=plots.GREEN, alpha=0.15, linewidth=0)
    axes.axvline(1, color=plots.GREY, linewidth=1)
    axes.margins(x=0.25)
    plots.title(axes, "Mean latencies under load; shaded: equivalent", "ratio, 95 % interval")
    return figure


def _latencies(results: LoadResults) -> Figure | None:
    """The mean latency of each second, by arm."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    arms = ((BARE, "without Latchkey", plots.GREY), (OPEN, "open", plots.BLUE))
    for path, name, color in (*arms, (PROTECTED, "protected", plots.OURS)):
        kind = results.main.kinds.get(path)
        if kind is None:
            return None
        means = [mean for _, mean in kind.by_second]
        axes.plot(range(len(means)), means, color=color, label=name, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    plots.title(axes, "The main run, second by second", "second", "mean latency, µs")
    return figure
