"""The part ``overhead``: what the check adds to a call, in process, beside doing without it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.overhead import goals, page, plots
from benchmarks.overhead.instructions import SUBJECTS as COUNTED
from benchmarks.overhead.instructions import NoTool, Subjects, count, find_tool
from benchmarks.overhead.plan import SERIES, Job
from benchmarks.overhead.results import Instructions, Results
from benchmarks.parts import Measured, PartName, Report, Table, Verdict, write_json
from benchmarks.processes import run

PROCESSES = 8
CALLS = 20_000
QUICK_PROCESSES = 2
QUICK_CALLS = 2_000
QUICK_COUNTED: Subjects = {}
COUNTED_CALLS = 100

_WORKER = "benchmarks.overhead.worker"


@dataclass(frozen=True)
class OverheadPart:
    """Times and instructions of single calls."""

    series: tuple[str, ...] = tuple(SERIES)
    """What is compared with what."""
    processes: int | None = None
    calls: int | None = None
    keys: int = Job.keys
    counted: Subjects | None = None
    """Whose instructions are counted."""

    name: PartName = "overhead"
    about: str = "what a check adds to a call, in process"

    @property
    def whole(self) -> bool:
        return self == OverheadPart()

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        processes = self.processes or (QUICK_PROCESSES if quick else PROCESSES)
        calls = self.calls or (QUICK_CALLS if quick else CALLS)
        counted = (
            self.counted if self.counted is not None else (QUICK_COUNTED if quick else COUNTED)
        )
        steps = processes + 1
        measured = []
        for turn in range(processes):
            report(turn, steps, f"process {turn + 1}, calls in random order")
            job = Job(calls=calls, keys=self.keys, seed=time.time_ns(), series=self.series)
            measured.append(json.loads(run([sys.executable, "-m", _WORKER], job.to_json())))
        report(processes, steps, "instructions")
        results = Results(
            settings={
                "quick": quick,
                "processes": processes,
                "calls": calls,
                "keys": self.keys,
                "series": dict(SERIES),
            },
            processes=measured,
            instructions=_instructions(counted),
        )
        report(steps, steps, "done")
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")

    def goals(self, measured: Measured) -> list[Verdict]:
        return goals.verdicts(Results.model_validate(measured))

    def tables(self, measured: Measured) -> Mapping[str, Table]:
        return page.tables(Results.model_validate(measured))

    def words(self, measured: Measured) -> Mapping[str, str]:
        return page.words(Results.model_validate(measured))

    def page(self) -> str:
        return Path(__file__).with_name("page.md").read_text()

    def draw(self, measured: Measured, directory: Path) -> list[Path]:
        return plots.draw(Results.model_validate(measured), directory)


def _instructions(counted: Subjects) -> Instructions:
    if not counted:
        return Instructions(tool=None, absent="this run did not count them", calls=0, counts={})
    try:
        tool = find_tool()
    except NoTool as error:
        return Instructions(tool=None, absent=str(error), calls=0, counts={})
    counts = count(tool, COUNTED_CALLS, counted)
    return Instructions(
        tool=f"{tool.name} {tool.version}", absent=None, calls=COUNTED_CALLS, counts=counts
    )
