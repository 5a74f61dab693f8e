"""Writes the tables and docs/benchmarks.md from a run's JSON; the prose is in page.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.bootstrap import Estimate
from benchmarks.micro import goals
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import FLOOR, LOCKED, NOT_COMPETITORS, OURS, PEERS
from benchmarks.micro.plan import MAIN_ENTRIES, is_large
from benchmarks.micro.results import FILE_NAME, Cell, Results

TEMPLATE = Path(__file__).with_name("page.md")

_PARTS = {
    "get": "hot keys, Zipf over 100,000, and the hit ratios",
    "sizes": "the other sizes, up to 10,000,000 entries",
    "set": "`set` that evicts",
    "threads": "threads",
    "memory": "memory",
}


def write_page(results: Results) -> str:
    """The whole of docs/benchmarks.md."""
    settings = results.settings
    return Template(TEMPLATE.read_text()).substitute(
        source_file=f"benchmarks/results/{results.name}/{FILE_NAME}",
        date=results.started[:10],
        commit=results.source.commit,
        goals=_goals(results),
        figures=_figures(results),
        sizes=_by_size(results),
        hits=_by_hit_ratio(results),
        threads=_by_threads(results),
        memory=_by_memory_size(results),
        limits=_limits(results),
        peers=_peers(results),
        kept=_kept(results),
        block=f"{settings['block']:,}",
        prelude=f"{settings['prelude']:,}",
        rounds=settings["rounds"],
        warm_rounds=settings["warm_rounds"],
        main_processes=settings["main_processes"],
        processes=settings["processes"],
        size_processes=_size_processes(settings),
        virtual="and virtual ones" if results.machine.virtual else "and shared",
        machine=_machine(results),
        rerun=_table(
            ["part", "command"],
            [[what, f"`make bench-cache ARGS='--only {part}'`"] for part, what in _PARTS.items()],
        ),
    )


def write_digest(results: Results) -> str:
    """What a run has to say in short: the goals and the figures that they speak of."""
    title = f"# Cache, {results.started[:10]}, commit {results.source.commit}"
    if not results.whole:
        title += "\n\n**Not proved**: this run was quick, or a part of one."
    return f"{title}\n\n## Goals\n\n{_goals(results)}\n\n## Figures\n\n{_figures(results)}"


def write_tables(results: Results) -> str:
    """All tables, for a run's directory."""
    sections = {
        "By number of entries": _by_size(results),
        "By hit ratio": _by_hit_ratio(results),
        "By number of threads": _by_threads(results),
        "Memory": _by_memory_size(results),
        "Where the claim stops holding": _limits(results),
        "Machine": _machine(results),
    }
    parts = [f"## {name}\n\n{text}" for name, text in sections.items()]
    return "\n\n".join([write_digest(results), *parts]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _goals(results: Results) -> str:
    return _table(
        ["what", "goal", "measured", ""],
        [[one.what, one.goal, one.measured, one.state] for one in goals.verdicts(results)],
    )


def _columns(cells: Mapping[str, Cell | None], without: str | None = None) -> str:
    """A row for each peer, a column for each cell that was measured."""
    measured = {head: cell for head, cell in cells.items() if cell is not None}
    found = [name for name in PEERS if any(name in cell.estimates for cell in measured.values())]
    names = [name for name in found if name != without]
    if not names:
        return "Not measured."

    def show(estimate: Estimate | None) -> str:
        return "" if estimate is None else goals.format_estimate(estimate)

    rows = [
        [_bold(name), *(show(cell.estimates.get(name)) for cell in measured.values())]
        for name in names
    ]
    return _table(["", *measured], rows)


def _bold(name: str) -> str:
    return f"**{name}**" if name == OURS else name


def _figures(results: Results) -> str:
    return _columns(
        {
            "get, 64 hot keys, ns": results.cell(goals.HOT),
            "get, Zipf, ns": results.cell(goals.ZIPF),
            "set that evicts, ns": results.cell(goals.EVICTING),
            "memory, B": results.cell(goals.MEMORY),
        }
    )


def _cells(results: Results, scenario: str, interpreter: str = "default") -> list[Cell]:
    return sorted(
        (
            cell
            for cell in results.cells
            if cell.case.scenario == scenario and cell.interpreter == interpreter
        ),
        key=lambda cell: cell.case,
    )


def _by_size(results: Results) -> str:
    cells = [
        cell
        for cell in _cells(results, "get")
        if cell.case == Case("get", cell.case.entries) and cell.processes
    ]
    # The lock is measured at one size.
    table = _columns({f"{cell.case.entries:,}": cell for cell in cells}, without=LOCKED)
    notes = [
        f"{', '.join(cell.left_out)}: too large for this machine's memory at "
        f"{cell.case.entries:,} entries."
        for cell in _cells(results, "get")
        if cell.left_out
    ]
    return "\n\n".join([table, *notes])


def _by_hit_ratio(results: Results) -> str:
    cells = [
        cell
        for cell in _cells(results, "get")
        if cell.case == Case("get", MAIN_ENTRIES, hit_percent=cell.case.hit_percent)
    ]
    return _columns({f"{cell.case.hit_percent} %": cell for cell in cells})


def _by_threads(results: Results) -> str:
    tables = []
    for label, python in results.interpreters.items():
        cells = _cells(results, "threads", label)
        if not cells:
            continue
        lock = "with the GIL" if python.gil else "without the GIL"
        columns = {f"ns/get, {_threads(cell)}": cell.estimates for cell in cells}
        columns |= {
            f"× one thread, {_threads(cell)}": cell.speed_up
            for cell in cells
            if cell.case.threads > 1
        }
        names = [name for name in PEERS if any(name in column for column in columns.values())]
        rows = [
            [
                _bold(name),
                *(
                    goals.format_estimate(column[name]) if name in column else ""
                    for column in columns.values()
                ),
            ]
            for name in names
        ]
        text = f"Python {python.version} {lock}:\n\n{_table(['', *columns], rows)}"
        if python.gil_turned_on_by:
            text += f"\n\nThe GIL was on for: {', '.join(python.gil_turned_on_by)}."
        tables.append(text)
    return "\n\n".join(tables) or "Not measured."


def _threads(cell: Cell) -> str:
    return "1 thread" if cell.case.threads == 1 else f"{cell.case.threads} threads"


def _by_memory_size(results: Results) -> str:
    cells = _cells(results, "memory")
    names = [name for name in PEERS if any(name in cell.estimates for cell in cells)]
    if not names:
        return "Not measured."
    rows = [
        [
            _bold(name),
            *(
                f"{cell.estimates[name].value:.0f}" if name in cell.estimates else ""
                for cell in cells
            ),
        ]
        for name in names
    ]
    return _table(["B per entry, at entries", *(f"{cell.case.entries:,}" for cell in cells)], rows)


def _limits(results: Results) -> str:
    """Every case in which some peer is not clearly behind, or the floor is far below."""
    behind, compared = [], 0
    far = []
    for cell in sorted(results.cells, key=lambda cell: (cell.interpreter, cell.case)):
        for name, ratio in cell.over_ours.items():
            if name in NOT_COMPETITORS:
                continue
            compared += 1
            if ratio.low <= 1:
                behind.append(f"{name} is at {goals.format_estimate(ratio, ' ×')}: {_say(cell)}")
        floor = cell.over_floor.get(OURS)
        if cell.case.scenario == "get" and floor is not None and floor.high > 1.6:
            far.append(f"{goals.format_estimate(floor, ' ×')}: {_say(cell)}")
    lines = [
        f"- fastcache is shown to be ahead in {compared - len(behind)} of {compared} comparisons "
        "with a peer, in all cases above."
    ]
    if behind:
        lines[0] += " These are the others, as multiples of fastcache's time, or memory:"
        lines += [f"    - {each}" for each in behind]
    if far:
        lines.append(f"- `get` takes more than 1.6 times what `{FLOOR}` takes in these:")
        lines += [f"    - {each}" for each in far]
    return "\n".join(lines)


def _say(cell: Cell) -> str:
    """A case in words."""
    case = cell.case
    keys = {"zipf": "Zipf", "hot": "64 hot keys", "new": "new keys"}[case.pattern]
    said = {
        "get": f"get, {keys}, {case.entries:,} entries, {case.hit_percent} % hits",
        "set": f"set that evicts, {case.entries:,} entries",
        "memory": f"memory, {case.entries:,} entries",
        "threads": f"get, {_threads(cell)}, {case.entries:,} entries",
    }[case.scenario]
    return said if cell.interpreter == "default" else f"{said}, {cell.interpreter}"


def _peers(results: Results) -> str:
    python = results.interpreters["default"]
    rows = []
    for name, peer in PEERS.items():
        if name in results.settings["peers"]:
            version = python.packages.get(peer.distribution or "", "")
            state = (
                f"**not measured**: {python.missing[name]}" if name in python.missing else version
            )
            rows.append([_bold(name), state, peer.about])
    return _table(["", "version", "what it is"], rows)


def _kept(results: Results) -> str:
    """Says who lost entries while it was filled, or that nobody did."""
    lost = [
        f"{name} found {share:.1%} of the present keys asked for ({_say(cell)})"
        for cell in results.cells
        for name, share in cell.kept.items()
        if share < 1
    ]
    if not lost:
        return "After the filling, each of them found every key that it was asked for."
    return f"After the filling, {'; '.join(lost)}; every other found all that it was asked for."


def _size_processes(settings: Mapping[str, Any]) -> str:
    large = [
        f"{count} at {entries:,} entries"
        for entries, count in settings["sizes"]
        if is_large(entries)
    ]
    return ", ".join(large) or "as many at each size"


def _machine(results: Results) -> str:
    machine = results.machine
    rows = [
        ["processor", f"{machine.cpu}, {machine.cores} cores{' (virtual)' * machine.virtual}"],
        ["its caches", ", ".join(f"{name} {size}" for name, size in machine.caches.items())],
        ["memory", f"{machine.memory_gib} GiB"],
        ["system", machine.system],
        *([name.replace("_", " "), text] for name, text in machine.details.items()),
    ]
    for label, python in results.interpreters.items():
        lock = "GIL" if python.gil else "no GIL"
        text = f"{python.implementation} {python.version}, {lock}, {python.compiler}"
        rows.append([f"Python ({label})", text])
        versions = ", ".join(f"{name} {each}" for name, each in sorted(python.packages.items()))
        rows.append([f"packages ({label})", versions])
        if python.missing:
            absent = "; ".join(f"{name}: {error}" for name, error in python.missing.items())
            rows.append([f"missing ({label})", absent])
    rows.append(["run", f"{results.started} to {results.finished}, commit {results.source.commit}"])
    return _table(["", ""], rows)
