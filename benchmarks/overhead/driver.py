"""Measures what the check adds to a call: processes one after another, then instructions."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from benchmarks.overhead import plan
from benchmarks.overhead.instructions import NoTool, count, digest_under, find_tool
from benchmarks.overhead.results import Instructions, OverheadResults
from benchmarks.parts import Report
from benchmarks.processes import run as run_process
from fastcache.shared import KeyedDigest

_WORKER = "benchmarks.overhead.worker"


def run(
    settings: plan.OverheadSettings, series: Sequence[str], quick: bool, report: Report
) -> OverheadResults:
    """Measure every series in each process; ``quick`` is only recorded in the results."""
    steps = settings.processes + 1
    measured = []
    for turn in range(settings.processes):
        report(turn, steps, f"process {turn + 1}, calls in random order")
        job = plan.OverheadJob(settings.calls, time.time_ns(), settings.keys, tuple(series))
        measured.append(json.loads(run_process([sys.executable, "-m", _WORKER], job.to_json())))
    report(settings.processes, steps, "instructions")
    results = OverheadResults(
        settings={
            "quick": quick,
            "processes": settings.processes,
            "calls": settings.calls,
            "keys": settings.keys,
            "series": dict(plan.SERIES),
        },
        digest=KeyedDigest.algorithm,
        processes=measured,
        instructions=_instructions(settings.counted_calls),
    )
    report(steps, steps, "done")
    return results


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
