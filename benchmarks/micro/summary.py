"""Computes the estimates, ratios and intervals of each cell from its samples."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bootstrap import RESAMPLES, Bootstrap, Estimate
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import FLOOR, LOOP, OURS
from benchmarks.micro.results import Cell, MicroResults

RESOLUTION = 0.1
"""The smallest divisor, in the figure's unit: smaller values are noise of the loop."""


def summarise(results: MicroResults, resamples: int = RESAMPLES) -> None:
    """Compute all estimates, in place."""
    for cell in results.cells:
        # With threads, the loop is hidden by waiting, and memory has no loop: nothing is
        # subtracted.
        loop = LOOP if cell.case.scenario in ("get", "set") else None
        drawn = Bootstrap(cell.processes, resamples)
        cell.estimates = _net(drawn, peers_of(cell), loop)
        cell.over_floor = _over(drawn, peers_of(cell), FLOOR, loop)
        cell.over_ours = _over(drawn, peers_of(cell), OURS, loop)
        if loop is not None:
            cell.gross_over_floor = _over(drawn, peers_of(cell), FLOOR, None)
            cell.gross_over_ours = _over(drawn, peers_of(cell), OURS, None)
        if cell.case.scenario == "threads":
            alone = Case("threads", cell.case.entries, cell.case.pattern)
            one = results.cell(alone, cell.interpreter)
            cell.speed_up = {} if one is None else _speed_up(cell, one, resamples)


def peers_of(cell: Cell) -> list[str]:
    """The peers with figures in a cell, in the order in which they first appear."""
    names: dict[str, None] = {}
    for process in cell.processes:
        names.update(dict.fromkeys(name for name in process if name != LOOP))
    return list(names)


def _net(drawn: Bootstrap, names: list[str], loop: str | None) -> dict[str, Estimate]:
    """Each peer's figure, without that of the loop."""
    found = {}
    for name in names:

        def figure(medians: Mapping[str, float], name: str = name) -> float:
            return medians[name] - (medians[loop] if loop else 0.0)

        found[name] = drawn.estimate(figure, name, *([loop] if loop else []))
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _over(drawn: Bootstrap, names: list[str], base: str, loop: str | None) -> dict[str, Estimate]:
    """Each peer's figure as a multiple of the base's, both without that of the loop."""
    found = {}
    for name in names:
        if name == base:
            continue

        def ratio(medians: Mapping[str, float], name: str = name) -> float:
            empty = medians[loop] if loop else 0.0
            return _divide(medians[name] - empty, medians[base] - empty)

        found[name] = drawn.estimate(ratio, name, base, *([loop] if loop else []))
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _speed_up(cell: Cell, one: Cell, resamples: int) -> dict[str, Estimate]:
    """Each peer's calls per second, as a multiple of one thread's in the same process."""
    both = [
        {f"{name} together": figures for name, figures in process.items()}
        | {f"{name} alone": figures for name, figures in alone.items()}
        for process, alone in zip(cell.processes, one.processes, strict=True)
    ]
    drawn = Bootstrap(both, resamples)
    found = {}
    for name in peers_of(cell):

        def gain(medians: Mapping[str, float], name: str = name) -> float:
            return _divide(medians[f"{name} alone"], medians[f"{name} together"])

        found[name] = drawn.estimate(gain, f"{name} alone", f"{name} together")
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _divide(figure: float, base: float) -> float:
    return figure / max(base, RESOLUTION)
