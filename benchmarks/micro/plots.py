"""Draws the plots of a run from its JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks import plots
from benchmarks.bootstrap import Estimate
from benchmarks.micro.cases import Case
from benchmarks.micro.goals import EVICTING, HOT, ZIPF
from benchmarks.micro.peers import FLOOR, LOCKED, OURS, OURS_SHARDED, PEERS
from benchmarks.micro.plan import MAIN_ENTRIES
from benchmarks.micro.results import Cell, MicroResults


@dataclass(frozen=True)
class _Style:
    color: str
    marker: str
    line: str = "-"


# Markers differ, not only colours.
STYLES = {
    OURS: _Style(plots.OURS, "o"),
    OURS_SHARDED: _Style(plots.OURS, "o", ":"),
    FLOOR: _Style(plots.INK, "", "--"),
    "cachebox": _Style(plots.BLUE, "s"),
    "lru-dict": _Style(plots.SKY, "^"),
    "moka-py": _Style(plots.GREEN, "D"),
    "theine": _Style(plots.PURPLE, "v"),
    "cachetools": _Style(plots.ORANGE, "P"),
    LOCKED: _Style(plots.GREY, "X"),
}

Points = Mapping[str, list[tuple[float, Estimate]]]
"""The estimates of each peer along the horizontal axis."""


def draw(results: MicroResults, directory: Path) -> list[Path]:
    """Draw every plot for which there are results; returns the written files."""
    drawn: dict[str, Callable[[MicroResults], Figure | None]] = {
        "cache-main": _main,
        "cache-by-size": _by_size,
        "cache-by-hit-ratio": _by_hit_ratio,
        "cache-by-threads": _by_threads,
        "cache-memory": _memory,
    }
    return plots.draw({name: partial(plot, results) for name, plot in drawn.items()}, directory)


def _points(
    cells: Iterable[Cell], axis: Callable[[Case], float], without: str | None = None
) -> Points:
    points: dict[str, list[tuple[float, Estimate]]] = {}
    for cell in sorted(cells, key=lambda cell: axis(cell.case)):
        for name, estimate in cell.estimates.items():
            points.setdefault(name, []).append((axis(cell.case), estimate))
    return {name: points[name] for name in PEERS if name in points and name != without}


def _lines(axes: Any, points: Points, figure_of: Callable[[float], float] = lambda y: y) -> None:
    """One line for each peer, with its interval as a shaded area."""
    for name, estimates in points.items():
        style = STYLES[name]
        across = [place for place, _ in estimates]
        axes.plot(
            across,
            [figure_of(each.value) for _, each in estimates],
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            linewidth=2.4 if name == OURS else 1.4,
            markersize=5,
            zorder=3 if name == OURS else 2,
            label=name,
        )
        axes.fill_between(
            across,
            [figure_of(each.low) for _, each in estimates],
            [figure_of(each.high) for _, each in estimates],
            color=style.color,
            alpha=0.15,
            linewidth=0,
        )


def _log(axis: Any) -> None:
    """A logarithmic axis with plain numbers at decades, and at 2 and 5 between them."""
    axis.get_major_locator().set_params(subs=(1.0, 2.0, 5.0))
    plots.plain(axis)


def _legend(axes: Any) -> None:
    """A legend beside the plot, in the vertical order of the lines' ends."""
    lines, names = axes.get_legend_handles_labels()
    order = sorted(range(len(lines)), key=lambda at: -float(lines[at].get_ydata()[-1]))
    axes.legend(
        [lines[at] for at in order],
        [names[at] for at in order],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
    )


def _one() -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    return figure, figure.subplots()


def _by_size(results: MicroResults) -> Figure | None:
    cells = [
        cell
        for cell in results.cells
        if cell.case == Case("get", cell.case.entries) and cell.interpreter == "default"
    ]
    if len(cells) < 2:
        return None
    figure, axes = _one()
    _lines(axes, _points(cells, lambda case: case.entries, without=LOCKED))
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = [cell.case.entries for cell in cells]
    axes.set_xticks(sizes, [_short(size) for size in sizes], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    _log(axes.yaxis)
    plots.title(axes, "get that hits, Zipf 0.99", "entries in the cache", "ns per get")
    _legend(axes)
    return figure


def _short(entries: float) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if entries >= size:
            return f"{entries / size:g}{letter}"
    return f"{entries:g}"


def _by_hit_ratio(results: MicroResults) -> Figure | None:
    cells = [
        cell
        for cell in results.cells
        if cell.case == Case("get", MAIN_ENTRIES, hit_percent=cell.case.hit_percent)
    ]
    if len(cells) < 2:
        return None
    figure, axes = _one()
    # Equally spaced, because the interesting range is 90 to 100.
    percents = sorted(cell.case.hit_percent for cell in cells)
    _lines(axes, _points(cells, lambda case: percents.index(case.hit_percent)))
    axes.set_yscale("log")
    _log(axes.yaxis)
    axes.set_xticks(range(len(percents)), [f"{percent} %" for percent in percents])
    title = "get by hit ratio, Zipf 0.99 over 100,000 entries"
    plots.title(axes, title, "gets that hit", "ns per get")
    _legend(axes)
    return figure


def _by_threads(results: MicroResults) -> Figure | None:
    found = [
        (label, [cell for cell in results.cells if _is_threads(cell, label)])
        for label in results.interpreters
    ]
    panels = [(label, cells) for label, cells in found if len(cells) > 1]
    if not panels:
        return None
    figure = Figure(figsize=(4.4 * len(panels) + 3.6, 4.4), layout="constrained")
    columns = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (label, cells) in zip(columns, panels, strict=True):
        python = results.interpreters[label]
        # From nanoseconds per call to millions of calls per second.
        _lines(axes, _points(cells, lambda case: case.threads), lambda figure: 1_000 / figure)
        axes.set_yscale("log")
        _log(axes.yaxis)
        axes.set_xticks(sorted(cell.case.threads for cell in cells))
        lock = "GIL" if python.gil else "no GIL"
        title = f"get that hits, Zipf 0.99 over 100,000\nPython {python.version}, {lock}"
        plots.title(axes, title, "threads", "million gets per second, all threads together")
    columns[-1].set_ylabel("" if len(panels) > 1 else columns[-1].get_ylabel())
    _legend(columns[-1])
    return figure


def _is_threads(cell: Cell, interpreter: str) -> bool:
    return cell.case.scenario == "threads" and cell.interpreter == interpreter


def _memory(results: MicroResults) -> Figure | None:
    cells = [cell for cell in results.cells if cell.case.scenario == "memory"]
    if len(cells) < 2:
        return None
    figure, axes = _one()
    _lines(axes, _points(cells, lambda case: case.entries))
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    sizes = [cell.case.entries for cell in cells]
    axes.set_xticks(sizes, [_short(size) for size in sizes], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    plots.title(
        axes,
        "Memory for an entry, beyond its key and value",
        "entries in the cache",
        "bytes per entry",
    )
    _legend(axes)
    return figure


def _main(results: MicroResults) -> Figure | None:
    """The three cases of the goals: a dot for each peer, with its interval."""
    titles = {
        HOT: "get that hits, 64 hot keys",
        ZIPF: "get that hits, Zipf 0.99",
        EVICTING: "set that evicts",
    }
    shown = [(cell, title) for case, title in titles.items() if (cell := results.cell(case))]
    if not shown:
        return None
    figure = Figure(figsize=(3.6 * len(shown) + 1.4, 3.6), layout="constrained")
    columns = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    names = [name for name in PEERS if any(name in cell.estimates for cell, _ in shown)]
    for axes, (cell, title) in zip(columns, shown, strict=True):
        found = cell.estimates
        plots.dots(axes, [plots.Dot(name, found.get(name), STYLES[name].color) for name in names])
        axes.set_xscale("log")
        plots.plain(axes.xaxis)
        plots.title(axes, title, "ns per call, 100,000 entries", "")
    # Room for the number beside the rightmost dot.
    columns[0].set_xlim(right=columns[0].get_xlim()[1] * 3)
    return figure
