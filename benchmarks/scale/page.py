"""The tables of the part ``scale``, and the figures in its prose."""

from __future__ import annotations

from pathlib import Path

from benchmarks.parts import Table, View, format_estimate, format_figure
from benchmarks.scale import goals, plots
from benchmarks.scale.results import ScaleResults

_MEBIBYTE = 1 << 20
_ROOMS = {
    "roomy": "room for all",
    "full": "room for a part",
    "none": "no shared cache",
}


def tables(results: ScaleResults) -> dict[str, Table]:
    """Every table by its name."""
    return {
        "misses": _misses(results),
        "memory": _memory(results),
        "rooms": _rooms(results),
        "grid": _grid(results),
        "soak": _soak(results),
    }


def words(results: ScaleResults) -> dict[str, str]:
    """The figures in the prose about this run."""
    soak = results.soak
    return {
        "processes": f"{len(results.misses.processes)}",
        "distinct": f"{results.shared.distinct:,}",
        "soak_requests": f"{soak.load.requests:,}",
        "soak_revocations": f"{soak.load.revocations:,}",
        "soak_violations": f"{soak.load.violations}",
        "soak_errors": "; ".join(f"{n} × {what}" for what, n in soak.load.errors.items()) or "none",
        "soak_growth": format_estimate(soak.growth, " B") or "not measured",
        "soak_warm": f"{soak.warm:.0f}",
        "cores": f"{results.cores}",
    }


def _misses(results: ScaleResults) -> Table:
    misses = results.misses
    rows = [
        [
            f"{count:,}",
            f"{misses.presented[str(count)]:,}",
            format_estimate(misses.estimates.get(str(count))),
            format_estimate(misses.over_smallest.get(str(count)), " ×"),
            f"{misses.selects[str(count)]:.3f}",
            f"{misses.seeding[str(count)]:.1f}",
        ]
        for count in misses.credentials
    ]
    head = ["credentials", "of which requested", "a miss, µs", "relative to the smallest"]
    return Table([*head, "SELECTs per lookup", "stored in, s"], rows)


def _memory(results: ScaleResults) -> Table:
    rows = [
        [
            f"{one.credentials:,}",
            f"{one.presented:,}",
            *(format_figure(each / _MEBIBYTE) for each in (one.database, one.segment, one.private)),
        ]
        for one in results.memory
    ]
    head = ["credentials", "of which used", "database, MiB", "shared memory, MiB"]
    return Table([*head, "worker's own memory, MiB"], rows)


def _rooms(results: ScaleResults) -> Table:
    rows = [
        [
            _ROOMS[room.name],
            format_estimate(room.estimate),
            format_estimate(room.over_roomy, " ×"),
            f"{room.hits:.1%}",
            f"{room.evictions:.3f}",
            f"{room.selects:.3f}",
        ]
        for room in results.shared.rooms
    ]
    head = ["shared cache", "a lookup, µs", "relative to room for all", "answered"]
    return Table([*head, "evictions per lookup", "SELECTs per lookup"], rows)


def _grid(results: ScaleResults) -> Table:
    rows = []
    for run in results.grid:
        kind = run.kinds.get("hit")
        rows.append(
            [
                f"{run.workers}",
                f"{run.threads}",
                f"{run.rate:,.0f}",
                *(["", ""] if kind is None else map(format_figure, (kind.p50, kind.p99))),
                f"{run.server_cpu * run.rate / 1000:.0%}",
                f"{run.client_cpu * run.rate / 1000:.0%}",
                f"{sum(run.errors.values()):,}",
            ]
        )
    head = ["workers", "threads each", "requests/s", "p50, µs", "p99, µs"]
    return Table([*head, "server CPU, of a core", "client CPU, of a core", "errors"], rows)


def _soak(results: ScaleResults) -> Table:
    """Four moments of the soak test."""
    soak = results.soak
    last = len(soak.times) - 1
    places = sorted({0, last // 3, 2 * last // 3, last}) if soak.times else []
    rows = [
        [
            f"{soak.times[place]:.0f}",
            *(
                format_figure(figures[place] / _MEBIBYTE)
                for figures in (soak.private, soak.resident, soak.segment)
            ),
            f"{soak.descriptors[place]}",
        ]
        for place in places
    ]
    head = ["second", "own memory, MiB", "resident, MiB", "shared memory, MiB"]
    return Table([*head, "descriptors"], rows)


VIEW = View(
    ScaleResults, goals.verdicts, tables, words, plots.draw, Path(__file__).with_name("page.md")
)
