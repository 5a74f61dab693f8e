"""The tables of the cache, and the values for the placeholders in page.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.micro import goals, plots
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import FLOOR, LOCKED, NOT_COMPETITORS, OURS, PEERS
from benchmarks.micro.plan import MAIN_ENTRIES
from benchmarks.micro.results import Cell, Interpreter, MicroResults
from benchmarks.parts import Table, View, format_estimate

_LABELS = ("default", goals.FREE_THREADED)


def tables(results: MicroResults) -> dict[str, Table]:
    """Every table, by its name."""
    return {
        "figures": _columns(
            {
                "get, 64 hot keys, ns": results.cell(goals.HOT),
                "get, Zipf, ns": results.cell(goals.ZIPF),
                "set that evicts, ns": results.cell(goals.EVICTING),
                "memory, B": results.cell(goals.MEMORY),
            }
        ),
        "sizes": _by_size(results),
        "hits": _by_hit_ratio(results),
        "threads": _by_threads(results),
        "memory": _by_memory_size(results),
        "peers": _peers(results),
        "pythons": _pythons(results),
    }


def words(results: MicroResults) -> dict[str, str]:
    """The other values on the page about this measurement."""
    settings = results.settings
    return {
        "too_large": _too_large(results),
        "gil": _gil(results),
        "limits": _limits(results),
        "kept": _kept(results),
        "block": f"{settings['block']:,}",
        "prelude": f"{settings['prelude']:,}",
        "rounds": str(settings["rounds"]),
        "warm_rounds": str(settings["warm_rounds"]),
        "main_processes": str(settings["main_processes"]),
        "processes": str(settings["processes"]),
        "size_processes": _size_processes(settings),
    }


def _columns(cells: Mapping[str, Cell | None], without: str | None = None) -> Table:
    """A row for each peer, a column for each cell that was measured."""
    measured = {head: cell for head, cell in cells.items() if cell is not None}
    found = [name for name in PEERS if any(name in cell.estimates for cell in measured.values())]
    rows = [
        [_bold(name), *(format_estimate(cell.estimates.get(name)) for cell in measured.values())]
        for name in found
        if name != without
    ]
    return Table(["", *measured], rows)


def _bold(name: str) -> str:
    return f"**{name}**" if name == OURS else name


def _cells(results: MicroResults, scenario: str, interpreter: str = "default") -> list[Cell]:
    return sorted(
        (
            cell
            for cell in results.cells
            if cell.case.scenario == scenario and cell.interpreter == interpreter
        ),
        key=lambda cell: cell.case,
    )


def _by_size(results: MicroResults) -> Table:
    cells = [
        cell
        for cell in _cells(results, "get")
        if cell.case == Case("get", cell.case.entries) and cell.processes
    ]
    # The lock is measured at one size only.
    return _columns({f"{cell.case.entries:,}": cell for cell in cells}, without=LOCKED)


def _too_large(results: MicroResults) -> str:
    return "\n\n".join(
        f"{', '.join(cell.left_out)}: too large for this machine's memory at "
        f"{cell.case.entries:,} entries."
        for cell in _cells(results, "get")
        if cell.left_out
    )


def _by_hit_ratio(results: MicroResults) -> Table:
    cells = [
        cell
        for cell in _cells(results, "get")
        if cell.case == Case("get", MAIN_ENTRIES, hit_percent=cell.case.hit_percent)
    ]
    return _columns({f"{cell.case.hit_percent} %": cell for cell in cells})


def _by_threads(results: MicroResults) -> Table:
    """A row for each peer in each interpreter: times, then the gain from more threads."""
    counts = sorted({cell.case.threads for cell in results.cells if cell.case.threads})
    counts = [count for count in counts if any(_at(results, name, count) for name in _LABELS)]
    head = [f"ns/get, {_threads(count)}" for count in counts]
    head += [f"× one thread, {_threads(count)}" for count in counts if count > 1]
    rows = []
    for label, python in results.interpreters.items():
        found = {count: _at(results, label, count) for count in counts}
        columns = [cell.estimates if cell else {} for cell in found.values()]
        columns += [cell.speed_up if cell else {} for count, cell in found.items() if count > 1]
        rows += [
            [_bold(name), _python(python), *(format_estimate(each.get(name)) for each in columns)]
            for name in PEERS
            if any(name in each for each in columns)
        ]
    return Table(["", "Python", *head], rows)


def _at(results: MicroResults, interpreter: str, threads: int) -> Cell | None:
    cells = _cells(results, "threads", interpreter)
    return next((cell for cell in cells if cell.case.threads == threads), None)


def _python(python: Interpreter) -> str:
    return f"{python.version}, {'GIL' if python.gil else 'no GIL'}"


def _gil(results: MicroResults) -> str:
    return "\n\n".join(
        f"On the Python without a GIL, these enabled it: {', '.join(python.gil_turned_on_by)}."
        for python in results.interpreters.values()
        if python.gil_turned_on_by
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _by_memory_size(results: MicroResults) -> Table:
    cells = _cells(results, "memory")
    rows = [
        [
            _bold(name),
            *(
                f"{cell.estimates[name].value:.0f}" if name in cell.estimates else ""
                for cell in cells
            ),
        ]
        for name in PEERS
        if any(name in cell.estimates for cell in cells)
    ]
    return Table(["B per entry, at entries", *(f"{cell.case.entries:,}" for cell in cells)], rows)


def _limits(results: MicroResults) -> str:
    """All cases in which a peer is not clearly slower, or ``dict`` is much faster."""
    behind, compared = [], 0
    far = []
    for cell in sorted(results.cells, key=lambda cell: (cell.interpreter, cell.case)):
        for name, ratio in cell.over_ours.items():
            if name in NOT_COMPETITORS:
                continue
            compared += 1
            if ratio.low <= 1:
                behind.append(f"{name} at {format_estimate(ratio, ' ×')}: {_say(cell)}")
        floor = cell.over_floor.get(OURS)
        if cell.case.scenario == "get" and floor is not None and floor.high > 1.6:
            far.append(f"{format_estimate(floor, ' ×')}: {_say(cell)}")
    lines = [
        f"- fastcache is significantly faster or smaller in {compared - len(behind)} of {compared} "
        "comparisons with a peer, over all cases above."
    ]
    if behind:
        lines[0] += " The others, as multiples of fastcache's time or memory:"
        lines += [f"    - {each}" for each in behind]
    if far:
        lines.append(f"- `get` takes more than 1.6 times as long as `{FLOOR}` in these cases:")
        lines += [f"    - {each}" for each in far]
    return "\n".join(lines)


def _say(cell: Cell) -> str:
    """A case, described in words."""
    case = cell.case
    keys = {"zipf": "Zipf", "hot": "64 hot keys", "new": "new keys"}[case.pattern]
    said = {
        "get": f"get, {keys}, {case.entries:,} entries, {case.hit_percent} % hits",
        "set": f"set that evicts, {case.entries:,} entries",
        "memory": f"memory, {case.entries:,} entries",
        "threads": f"get, {_threads(case.threads)}, {case.entries:,} entries",
    }[case.scenario]
    return said if cell.interpreter == "default" else f"{said}, {cell.interpreter}"


def _peers(results: MicroResults) -> Table:
    python = results.interpreters["default"]
    rows = []
    for name, peer in PEERS.items():
        if name in results.settings["peers"]:
            version = python.packages.get(peer.distribution or "", "")
            state = (
                f"**not measured**: {python.missing[name]}" if name in python.missing else version
            )
            about = peer.about.replace("$shards", str(results.settings["shards"]))
            rows.append([_bold(name), state, about])
    return Table(["", "version", "description"], rows)


def _kept(results: MicroResults) -> str:
    """Which peers lost entries while they were filled, or that none did."""
    lost = [
        f"{name} found {share:.1%} of the present keys ({_say(cell)})"
        for cell in results.cells
        for name, share in cell.kept.items()
        if share < 1
    ]
    if not lost:
        return "After they were filled, all of them found every key."
    return f"After they were filled, {'; '.join(lost)}; all others found every key."


def _size_processes(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} at {entries:,}" for entries, count in settings["sizes"])


def _pythons(results: MicroResults) -> Table:
    rows = []
    for label, python in results.interpreters.items():
        text = f"{python.implementation} {_python(python)}, {python.compiler}"
        rows.append([label, text])
        versions = ", ".join(f"{name} {each}" for name, each in sorted(python.packages.items()))
        rows.append([f"packages of {label}", versions])
        if python.missing:
            absent = "; ".join(f"{name}: {error}" for name, error in python.missing.items())
            rows.append([f"missing in {label}", absent])
    return Table(["Python", ""], rows)


VIEW = View(
    MicroResults, goals.verdicts, tables, words, plots.draw, Path(__file__).with_name("page.md")
)
