"""The goals for the cache, each decided by the results alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.bootstrap import Estimate
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import FLOOR, LOCKED, NOT_COMPETITORS, OURS, OURS_SHARDED, PEERS
from benchmarks.micro.plan import MAIN_ENTRIES
from benchmarks.micro.results import MicroResults
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED, Verdict, format_estimate

ZIPF = Case("get", MAIN_ENTRIES)
HOT = Case("get", MAIN_ENTRIES, "hot")
EVICTING = Case("set", MAIN_ENTRIES, "new")
MEMORY = Case("memory", MAIN_ENTRIES, "new")
TWO_THREADS = Case("threads", MAIN_ENTRIES, threads=2)

COMPETITORS = tuple(name for name in PEERS if name not in NOT_COMPETITORS)
FREE_THREADED = "free-threaded"


@dataclass(frozen=True)
class _Comparison:
    """A figure with a bound on one side; `gross` is the figure including the empty loop."""

    peer: str
    net: Estimate
    gross: Estimate | None
    bound: float
    at_least: bool

    def state(self) -> str:
        """Met if the whole interval is on the right side, missed if the figure is not."""
        both = [each for each in (self.net, self.gross) if each is not None]
        if all(self._right(each.value) for each in both):
            ends = [each.low if self.at_least else each.high for each in both]
            return MET if all(map(self._right, ends)) else UNPROVED
        return MISSED

    def _right(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound

    @property
    def decisive(self) -> Estimate:
        """The less favourable figure, which is shown."""
        least = min if self.at_least else max
        return least([self.net, *filter(None, [self.gross])], key=lambda each: each.value)

    @property
    def distance(self) -> float:
        """The distance to the bound; of several comparisons, the closest is shown."""
        return self.decisive.value if self.at_least else -self.decisive.value


def verdicts(results: MicroResults) -> list[Verdict]:
    """All goals, in the order of the table."""
    return [
        _faster(results, ZIPF, "`get` hit, Zipf over 100,000", "time"),
        _against(results, ZIPF, FLOOR, 1.6, "`get` hit, Zipf over 100,000"),
        _against(results, HOT, "cachebox", 1.5, "`get` hit, 64 hot keys of 100,000"),
        _against(results, HOT, LOCKED, 20, "`get` hit, 64 hot keys of 100,000"),
        _faster(results, EVICTING, "`set` that evicts, 100,000", "time"),
        _faster(results, MEMORY, "memory of 100,000 entries, beyond keys and values", "memory"),
        _threads(results),
    ]


def _decide(what: str, goal: str, comparisons: list[_Comparison], wanted: Iterable[str]) -> Verdict:
    if not comparisons:
        return Verdict(what, goal, "", UNMEASURED)
    nearest = min(comparisons, key=lambda one: one.distance)
    measured = f"{format_estimate(nearest.decisive, ' ×')}"
    if len(comparisons) > 1:
        measured += f", against {nearest.peer}"
    states = {one.state() for one in comparisons}
    absent = [name for name in wanted if name not in {one.peer for one in comparisons}]
    if absent:
        measured += f"; without {', '.join(absent)}"
        states.add(UNPROVED)
    state = next(each for each in (MISSED, UNPROVED, MET) if each in states)
    return Verdict(what, goal, measured, state)


def _comparisons(
    net: Mapping[str, Estimate],
    gross: Mapping[str, Estimate],
    peers: Iterable[str],
    bound: float,
    at_least: bool,
) -> list[_Comparison]:
    return [
        _Comparison(name, net[name], gross.get(name), bound, at_least)
        for name in peers
        if name in net
    ]


def _faster(results: MicroResults, case: Case, what: str, quantity: str) -> Verdict:
    goal = "faster than every peer" if quantity == "time" else "less than every peer"
    cell = results.cell(case)
    if cell is None:
        return Verdict(what, goal, "", UNMEASURED)
    # The lock uses no memory of its own and is not measured there.
    wanted = [name for name in COMPETITORS if quantity == "time" or name != LOCKED]
    found = _comparisons(cell.over_ours, cell.gross_over_ours, wanted, 1.0, at_least=True)
    verdict = _decide(what, goal, found, wanted)
    measured = f"nearest: {verdict.measured}" if verdict.measured else ""
    return Verdict(what, goal, measured, verdict.state)


def _against(results: MicroResults, case: Case, other: str, bound: float, what: str) -> Verdict:
    """Compare fastcache with another peer: a maximum ratio of times, or a minimum speed-up."""
    cell = results.cell(case)
    if other == FLOOR:
        goal, at_least, peer = f"≤ {bound} × `dict.get` (1.4 is the stretch)", False, OURS
        ratios = (cell.over_floor, cell.gross_over_floor) if cell else ({}, {})
    else:
        goal, at_least, peer = f"≥ {bound:g} × faster than {other}", True, other
        ratios = (cell.over_ours, cell.gross_over_ours) if cell else ({}, {})
    return _decide(what, goal, _comparisons(*ratios, [peer], bound, at_least), [peer])


def _threads(results: MicroResults) -> Verdict:
    what, goal = "free-threaded CPython, 2 threads on 2 cores", "≥ 1.8 × one thread"
    cell = results.cell(TWO_THREADS, FREE_THREADED)
    python = results.interpreters.get(FREE_THREADED)
    if cell is None or python is None:
        return Verdict(what, goal, "", UNMEASURED)
    if python.gil:
        return Verdict(what, goal, "", f"{UNMEASURED}: the GIL was on")
    wanted = [OURS_SHARDED]
    verdict = _decide(what, goal, _comparisons(cell.speed_up, {}, wanted, 1.8, True), wanted)
    floor = cell.speed_up.get(FLOOR)
    beside = f"; `dict` {format_estimate(floor, ' ×')}" if floor is not None else ""
    return Verdict(what, goal, f"{OURS_SHARDED}: {verdict.measured}{beside}", verdict.state)
