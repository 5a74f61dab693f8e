"""The style of all plots, and their output: SVG for the report, PNG for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.bootstrap import Estimate
from benchmarks.parts import format_figure

INK = "#111111"
"""The colour of text and axes. The report replaces it by its own, so use it for nothing else."""

# The palette of Okabe and Ito, suitable for colour-blind readers.
VERMILION = "#D55E00"
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
GREY = "#7F7F7F"

OURS = VERMILION
"""The colour of our results, in every plot."""

_DOTS_PER_INCH = 144
"""The resolution of a PNG."""

_SETTINGS: dict[Any, Any] = {
    # The layout is computed at the PNG's resolution, because hinting makes text wider there.
    "figure.dpi": _DOTS_PER_INCH,
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    # Visible on white and on black.
    "grid.color": "#80808050",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "svg.fonttype": "path",
    # Equal figures must give identical files.
    "svg.hashsalt": "latchkey",
}


def draw(plots: Mapping[str, Callable[[], Figure | None]], directory: Path) -> list[Path]:
    """Draw each plot as ``<name>.svg`` and ``<name>.png``; returns the written files.

    A plot without figures returns ``None`` and is omitted.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_SETTINGS):
        for name, plot in plots.items():
            figure = plot()
            if figure is None:
                continue
            drawn, painted = directory / f"{name}.svg", directory / f"{name}.png"
            # The layout is computed once for both.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            figure.savefig(drawn, metadata={"Date": None}, facecolor="none")
            figure.savefig(
                painted, metadata={"Software": None}, facecolor="white", dpi=_DOTS_PER_INCH
            )
            written += [drawn, painted]
    return written


@dataclass(frozen=True)
class Dot:
    """One row of `dots`."""

    name: str
    estimate: Estimate | None
    """``None`` leaves the row empty, for adjacent plots with the same rows."""
    color: str = BLUE
    shown: str | None = None
    """The text beside the dot; by default, the figure."""


def dots(axes: Any, rows: Sequence[Dot]) -> None:
    """A dot for each row from top to bottom, with its interval as a line, and its figure."""
    for place, row in enumerate(reversed(rows)):
        estimate = row.estimate
        if estimate is None:
            continue
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [place, place], color=row.color, linewidth=2, alpha=0.6)
        axes.plot(estimate.value, place, color=row.color, marker="o", markersize=7)
        axes.annotate(
            format_figure(estimate.value) if row.shown is None else row.shown,
            (estimate.high, place),
            textcoords="offset points",
            xytext=(8, -3),
            fontweight="bold" if row.color == OURS else "normal",
        )
    axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)


def plain(axis: Any) -> None:
    """Label an axis in plain numbers; a logarithmic one at its decades."""
    axis.set_major_formatter(FuncFormatter(lambda figure, _: f"{figure:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def title(axes: Any, text: str, across: str, up: str = "") -> None:
    """Set the title, left-aligned, and the labels of the axes."""
    axes.set_title(text, loc="left", fontsize=11)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
