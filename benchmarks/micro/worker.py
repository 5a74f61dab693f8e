"""The program of one measuring process: reads a job from standard input, writes its samples."""

from __future__ import annotations

import json
import os
import platform
import random
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.micro import memory, timing
from benchmarks.micro.cases import Case, MicroJob
from benchmarks.micro.peers import Found, find


def run(job: MicroJob) -> dict[str, Any]:
    """Measure all cases of the job; returns the samples and the versions."""
    found = find(job.peers)
    rng = random.Random(job.seed)
    kept: dict[str, float] = {}
    samples: dict[Case, timing.Samples]
    scenario = job.cases[0].scenario
    if scenario == "memory":
        samples = {job.cases[0]: _memory(job, found)}
    else:
        caches = timing.filled(job, found)
        kept = timing.kept(caches, job.cases[0], rng)
        measure = {
            "get": timing.time_gets,
            "set": timing.time_sets,
            "threads": timing.time_threads,
        }[scenario]
        samples = measure(job, caches, rng)
    return {
        "interpreter": _interpreter(),
        "packages": found.versions,
        "missing": found.missing,
        "kept": kept,
        "cases": [{"case": asdict(case), "samples": by_peer} for case, by_peer in samples.items()],
    }


def _memory(job: MicroJob, found: Found) -> timing.Samples:
    return memory.measure(job, found)


def _interpreter() -> dict[str, Any]:
    """The present state of the interpreter: importing a peer may have enabled the GIL."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "compiler": platform.python_compiler(),
        "gil": gil,
    }


def main() -> None:
    """Read a job, measure, and write the samples as JSON."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        sys.exit("set PYTHONHASHSEED=0: otherwise keys hash differently in each process")
    json.dump(run(MicroJob.from_dict(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
