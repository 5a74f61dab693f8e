"""Runs the processes of a plan one after another, and collects their measurements."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.machine import available_bytes
from benchmarks.micro import plan, summary
from benchmarks.micro.cases import Case, MicroJob
from benchmarks.micro.peers import FLOOR, OURS, OURS_SHARDED
from benchmarks.micro.results import Cell, Interpreter, MicroResults
from benchmarks.parts import Report
from benchmarks.processes import ProcessFailed
from benchmarks.processes import run as run_process

_WORKER = "benchmarks.micro.worker"


@dataclass
class _Gathered:
    """The results of all processes so far."""

    processes: dict[tuple[str, Case], list[dict[str, list[float]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    kept: dict[tuple[str, Case], dict[str, float]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    interpreters: dict[str, Interpreter] = field(default_factory=dict)
    left_out: dict[Case, list[str]] = field(default_factory=dict)

    def add(self, job: MicroJob, answer: Mapping[str, Any]) -> None:
        for one in answer["cases"]:
            place = (job.interpreter, Case(**one["case"]))
            self.processes[place].append(one["samples"])
            for name, share in answer["kept"].items():
                self.kept[place][name] = min(share, self.kept[place].get(name, 1.0))
        self._add_interpreter(job, answer)

    def _add_interpreter(self, job: MicroJob, answer: Mapping[str, Any]) -> None:
        known = self.interpreters.get(job.interpreter)
        if known is None:
            known = Interpreter(
                **answer["interpreter"], packages={}, missing={}, gil_turned_on_by=[]
            )
            self.interpreters[job.interpreter] = known
        known.packages.update(answer["packages"])
        known.missing.update(answer["missing"])
        others = [name for name in job.peers if name not in (FLOOR, OURS, OURS_SHARDED)]
        if not others:
            known.gil = answer["interpreter"]["gil"]
        elif answer["interpreter"]["gil"] and job.interpreter == "free-threaded":
            known.gil_turned_on_by += [
                name
                for name in others
                if name not in known.gil_turned_on_by and name not in known.missing
            ]


def run(
    settings: plan.MicroSettings, interpreters: Mapping[str, str], report: Report
) -> MicroResults:
    """Measure everything in the settings; each label names the executable of an interpreter."""
    rng = random.Random(time.time_ns())
    gathered = _Gathered()
    large = [count for size, count in settings.sizes if plan.is_large(size)]
    planned = plan.jobs(settings, rng, free_threaded="free-threaded" in interpreters)
    expected = len(planned) + (sum(large) if "sizes" in settings.parts else 0)
    done = _measure_all(planned, interpreters, gathered, report, 0, expected)
    weights = _entry_bytes(gathered, settings.main_entries)
    planned, too_large = plan.large_jobs(settings, rng, weights, available_bytes())
    gathered.left_out = {Case("get", size): names for size, names in too_large.items()}
    expected = done + len(planned)
    _measure_all(planned, interpreters, gathered, report, done, expected)
    report(expected, expected, "intervals")
    results = MicroResults(
        settings=json.loads(json.dumps(asdict(settings))),
        interpreters=gathered.interpreters,
        cells=_cells(gathered),
    )
    summary.summarise(results)
    return results


def describe(job: MicroJob) -> str:
    """A short description of a job."""
    case = job.cases[0]
    who = job.peers[0] if len(job.peers) == 1 else f"{len(job.peers)} peers"
    return f"{case.scenario}, {case.entries:,} entries, {who}"


def _measure_all(
    planned: list[MicroJob],
    interpreters: Mapping[str, str],
    gathered: _Gathered,
    report: Report,
    done: int,
    expected: int,
) -> int:
    """Run these jobs one by one; returns the number of jobs since the start."""
    for job in planned:
        report(done, expected, describe(job))
        gathered.add(job, _measure(job, interpreters[job.interpreter]))
        done += 1
    return done


def _measure(job: MicroJob, python: str) -> Any:
    try:
        return json.loads(run_process([python, "-m", _WORKER], json.dumps(job.to_dict())))
    except ProcessFailed as error:
        raise ProcessFailed(f"{describe(job)}: {error}") from error


def _entry_bytes(gathered: _Gathered, entries: int) -> dict[str, float]:
    """Bytes per entry of the peers whose memory was measured at this size."""
    processes = gathered.processes.get(("default", Case("memory", entries, "new")), [])
    figures: dict[str, list[float]] = defaultdict(list)
    for process in processes:
        for name, each in process.items():
            figures[name] += each
    return {name: median(each) for name, each in figures.items()}


def _cells(gathered: _Gathered) -> list[Cell]:
    places = set(gathered.processes)
    places |= {("default", case) for case, names in gathered.left_out.items() if names}
    cells = []
    for interpreter, case in sorted(places):
        processes = gathered.processes.get((interpreter, case), [])
        cells.append(
            Cell(
                case=case,
                interpreter=interpreter,
                unit="B/entry" if case.scenario == "memory" else "ns/call",
                processes=_merged(processes) if case.scenario == "memory" else processes,
                kept=gathered.kept.get((interpreter, case), {}),
                left_out=gathered.left_out.get(case, []),
            )
        )
    return cells


def _merged(processes: list[dict[str, list[float]]]) -> list[dict[str, list[float]]]:
    """Join the processes of single peers, in the order in which they ran."""
    by_peer: dict[str, list[list[float]]] = defaultdict(list)
    for process in processes:
        for name, figures in process.items():
            by_peer[name].append(figures)
    longest = max((len(each) for each in by_peer.values()), default=0)
    return [
        {name: each[turn] for name, each in by_peer.items() if turn < len(each)}
        for turn in range(longest)
    ]
