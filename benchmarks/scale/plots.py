"""Plots of the part ``scale``."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.scale.results import ScaleResults

_MEBIBYTE = 1 << 20


def draw(results: ScaleResults, directory: Path) -> list[Path]:
    """Draw all plots."""
    return plots.draw(
        {"scale-misses": lambda: _misses(results), "scale-soak": lambda: _soak(results)},
        directory,
    )


def _misses(results: ScaleResults) -> Figure:
    figure = Figure(figsize=(8, 2.2), layout="constrained")
    axes = figure.subplots()
    misses = results.misses
    rows = [
        plots.Dot(f"{count:,}", misses.estimates[str(count)], plots.OURS)
        for count in misses.credentials
        if str(count) in misses.estimates
    ]
    plots.dots(axes, rows)
    axes.set_xlim(left=0)
    axes.margins(x=0.15)
    plots.title(axes, "A miss by number of credentials", "µs, median and 95 % interval")
    return figure


def _soak(results: ScaleResults) -> Figure | None:
    soak = results.soak
    if len(soak.times) < 2:
        return None
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for name, figures, color in (
        ("workers' own", soak.private, plots.OURS),
        ("resident, shared included", soak.resident, plots.BLUE),
        ("shared memory", soak.segment, plots.GREEN),
    ):
        axes.plot(soak.times, [each / _MEBIBYTE for each in figures], color=color, label=name)
    axes.axvline(soak.warm, color=plots.GREY, linewidth=1, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    plots.title(axes, "Memory of the workers in the soak", "second", "MiB")
    return figure
