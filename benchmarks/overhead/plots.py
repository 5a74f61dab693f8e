"""The plots of the overhead."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.bootstrap import Estimate
from benchmarks.overhead.results import OverheadResults
from benchmarks.parts import format_figure

_PEERS = {
    ("flask", "check"): "Latchkey: check",
    ("flask", "check, metrics"): "Latchkey: check, metrics",
    ("peers", "Latchkey"): "Latchkey: check, metrics, requirement",
    ("peers", "before_request, TTLCache"): "before_request + cachetools",
    ("peers", "Flask-HTTPAuth, TTLCache"): "Flask-HTTPAuth + cachetools",
    ("peers", "Flask-HTTPAuth, SQLite"): "Flask-HTTPAuth + SQLite",
    ("django", "djangorestframework-api-key"): "djangorestframework-api-key",
}
_WAYS = {
    ("hits", "bearer"): "hit, bearer",
    ("hits", "pair"): "hit, pair",
    ("ways", "shared cache"): "hit between workers",
    ("ways", "networks and endpoints"): "hit, networks and endpoints",
    ("ways", "Python path"): "hit, decided in Python",
    ("ways", "cachetools backend"): "hit, cachetools backend",
    ("ways", "forged pair"): "forged pair",
    ("ways", "unknown key"): "unknown key",
    ("ways", "miss"): "miss",
}


def draw(results: OverheadResults, directory: Path) -> list[Path]:
    """Draw every plot for which there are results; returns the written files."""
    drawn = {"overhead-peers": lambda: _peers(results), "overhead-ways": lambda: _ways(results)}
    return plots.draw(drawn, directory)


def _peers(results: OverheadResults) -> Figure | None:
    """The share that each peer adds to the time of a request in the same framework."""
    shares = {name: results.share(*place) for place, name in _PEERS.items()}
    return _dots(shares, "%", "Added to a bare request that answers a small JSON", "percent of it")


def _ways(results: OverheadResults) -> Figure | None:
    """What a check costs, for each of its outcomes."""
    added = {name: results.added(*place) for place, name in _WAYS.items()}
    return _dots(added, "ns", "Added by the check to an application that does nothing", "ns")


def _dots(
    estimates: dict[str, Estimate | None], unit: str, title: str, across: str
) -> Figure | None:
    # A logarithmic axis cannot show values that are lost in the noise.
    shown = {name: each for name, each in estimates.items() if each is not None and each.low > 0}
    if not shown:
        return None
    figure = Figure(figsize=(8, 0.42 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    ours = _WAYS.values() if unit == "ns" else [name for name in shown if "Latchkey" in name]
    plots.dots(
        axes,
        [
            plots.Dot(
                name,
                each,
                plots.OURS if name in ours else plots.BLUE,
                f"{format_figure(each.value)} {unit}",
            )
            for name, each in shown.items()
        ],
    )
    axes.set_xscale("log")
    plots.plain(axes.xaxis)
    axes.set_xlim(right=axes.get_xlim()[1] * 2)
    plots.title(axes, title, across)
    return figure
