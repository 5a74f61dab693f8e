"""The part ``overhead``: what the check adds to a call, in process, beside doing without it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.overhead import goals, page, plan, plots
from benchmarks.overhead.instructions import NoTool, count, digest_under, find_tool
from benchmarks.overhead.results import Instructions, Results
from benchmarks.parts import PartName, Report, ShownPart, View, write_json
from benchmarks.processes import run
from fastcache import KeyedDigest

_WORKER = "benchmarks.overhead.worker"


@dataclass(frozen=True)
class OverheadPart(ShownPart):
    """Times and instructions of single calls."""

    series: tuple[str, ...] = tuple(plan.SERIES)
    """What is compared with what."""
    processes: int | None = None
    calls: int | None = None
    """How much, in place of what a whole or a quick run takes."""
    settings: plan.Settings | None = None
    """The same for all else."""

    name: PartName = "overhead"
    about: str = "what a check adds to a call, in process"

    view = View(
        Results,
        goals.verdicts,
        page.tables,
        page.words,
        plots.draw,
        Path(__file__).with_name("page.md"),
    )

    @property
    def whole(self) -> bool:
        return self == OverheadPart()

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        settings = self.settings or (plan.QUICK if quick else plan.FULL)
        processes = self.processes or settings.processes
        calls = self.calls or settings.calls
        steps = processes + 1
        measured = []
        for turn in range(processes):
            report(turn, steps, f"process {turn + 1}, calls in random order")
            job = plan.Job(calls, time.time_ns(), settings.keys, self.series)
            measured.append(json.loads(run([sys.executable, "-m", _WORKER], job.to_json())))
        report(processes, steps, "instructions")
        results = Results(
            settings={
                "quick": quick,
                "processes": processes,
                "calls": calls,
                "keys": settings.keys,
                "series": dict(plan.SERIES),
            },
            digest=KeyedDigest.algorithm,
            processes=measured,
            instructions=_instructions(settings.counted_calls),
        )
        report(steps, steps, "done")
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")


def _instructions(calls: int) -> Instructions:
    if not calls:
        return _uncounted("this run did not count them")
    try:
        tool = find_tool()
    except NoTool as error:
        return _uncounted(str(error))
    named = f"{tool.name} {tool.version}"
    return Instructions(
        tool=named,
        absent=None,
        calls=calls,
        digest=digest_under(tool),
        counts=count(tool, calls),
    )


def _uncounted(why: str) -> Instructions:
    return Instructions(tool=None, absent=why, calls=0, digest=None, counts={})
