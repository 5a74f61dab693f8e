"""The shortest rounds that still cover everything, and a run made of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.micro import driver, plan
from benchmarks.micro.cases import Case, MicroJob
from benchmarks.micro.peers import FLOOR, LOCKED, OURS, OURS_SHARDED
from benchmarks.micro.results import MicroResults

ROOT = Path(__file__).parents[3]

ALWAYS = (FLOOR, OURS, OURS_SHARDED, "cachetools", LOCKED)
"""The peers that every test environment has."""

SHORTEST = replace(
    plan.FULL,
    main_entries=1_000,
    processes=1,
    main_processes=1,
    rounds=2,
    warm_rounds=1,
    block=20,
    prelude=5,
    sizes=((64, 2), (10_000_000, 1)),
    hit_percents=(0, 90, 100),
    threads=(1, 2),
    thread_rounds=2,
    thread_block=20,
    memory_sizes=((1_000, 1), (2_000, 1)),
)

MACHINE = Machine(
    cpu="A processor",
    cores=2,
    caches={"L1d": "32K"},
    memory_gib=4.0,
    virtual=True,
    system="Linux",
    details={"load_avg_1min": "0.1"},
)


def job(*cases: Case, peers: Sequence[str]) -> MicroJob:
    """A job with one short round and one warm-up round."""
    return MicroJob(cases, tuple(peers), rounds=1, warm_rounds=1, block=10, prelude=5, seed=1)


def measure(settings: plan.MicroSettings, **interpreters: str) -> MicroResults:
    """Run a plan, in processes."""
    seen: list[str] = []
    results = driver.run(
        settings,
        {"default": sys.executable, **interpreters},
        lambda done, expected, what: seen.append(f"{done}/{expected} {what}"),
    )
    done, _, expected = seen[-1].split()[0].partition("/")
    assert done == expected
    return results
