"""How all plots look, and how they are written: SVG for the report, PNG for the documentation."""

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
"""Of text and axes. The report gives it the colour of its own text; use it for nothing else."""

# Okabe and Ito's colours, which the colour-blind can tell apart.
VERMILION = "#D55E00"
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
GREY = "#7F7F7F"

OURS = VERMILION
"""Of whatever is ours, in every plot."""

_DOTS_PER_INCH = 144
"""Of a PNG."""

_SETTINGS: dict[Any, Any] = {
    # Laid out at the PNG's: hinting makes text wider there than at another.
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
    # Seen on white and on black.
    "grid.color": "#80808050",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "svg.fonttype": "path",
    # The same figures give the same file.
    "svg.hashsalt": "latchkey",
}


def draw(plots: Mapping[str, Callable[[], Figure | None]], directory: Path) -> list[Path]:
    """Draw each plot as ``<name>.svg`` and ``<name>.png``; the files that were written.

    A plot without figures returns ``None`` and is left out.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_SETTINGS):
        for name, plot in plots.items():
            figure = plot()
            if figure is None:
                continue
            drawn, painted = directory / f"{name}.svg", directory / f"{name}.png"
            # Laid out once for both.
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
    """``None`` leaves the row empty, for plots side by side with the same rows."""
    color: str = BLUE
    shown: str | None = None
    """What stands beside the dot; the figure by itself, unless said otherwise."""


def dots(axes: Any, rows: Sequence[Dot]) -> None:
    """A dot for each row from the top down, its interval as a line, and its figure beside it."""
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
    """Label an axis in plain numbers, a logarithmic one at its decades."""
    axis.set_major_formatter(FuncFormatter(lambda figure, _: f"{figure:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def title(axes: Any, text: str, across: str, up: str = "") -> None:
    """The title at the left, and what the axes show."""
    axes.set_title(text, loc="left", fontsize=11)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
