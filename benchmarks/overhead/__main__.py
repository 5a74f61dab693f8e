"""``python -m benchmarks.overhead``: what the check, and the metrics on top of it, add to a call.

Each process draws its own order and its own keys; the figure is the median of the processes'
medians. Prints a table, or with ``--json`` the medians of each process.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from benchmarks.overhead.cases import new_bench
from benchmarks.overhead.timing import time_calls

Medians = dict[str, dict[str, float]]
"""Nanoseconds by part and subject."""


@click.command()
@click.option("--processes", default=5, show_default=True, help="Processes, one after another.")
@click.option("--calls", default=20_000, show_default=True, help="Calls of each subject in each.")
@click.option("--part", multiple=True, help="Only this part; can be given more than once.")
@click.option("--json", "as_json", is_flag=True, help="Print the processes' medians as JSON.")
@click.option("--alone", hidden=True, type=int, help="Be one of the processes, with this seed.")
def main(
    processes: int, calls: int, part: tuple[str, ...], as_json: bool, alone: int | None
) -> None:
    """Measure in process, call by call in random order."""
    if alone is not None:
        click.echo(json.dumps(_measure(calls, part, alone)))
        return
    command = [sys.executable, "-m", "benchmarks.overhead", f"--calls={calls}"]
    command += [f"--part={name}" for name in part]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    measured: list[Medians] = [
        json.loads(subprocess.check_output([*command, f"--alone={seed}"], env=environment))
        for seed in range(processes)
    ]
    if as_json:
        click.echo(json.dumps(measured, indent=1))
        return
    _show(measured)


def _measure(calls: int, only: tuple[str, ...], seed: int) -> Medians:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory, new_bench(Path(directory), rng) as bench:
        return {
            name: time_calls(subjects, calls, calls // 10, rng)
            for name, subjects in bench.parts().items()
            if not only or name in only
        }


def _show(measured: list[Medians]) -> None:
    table = Table("part", "subject", "call, ns", "over bare, ns", "lowest", "highest", "of bare")
    for part, subjects in measured[0].items():
        for subject in subjects:
            calls = [one[part][subject] for one in measured]
            over = [one[part][subject] - one[part]["bare"] for one in measured]
            share = median(one[part][subject] / one[part]["bare"] - 1 for one in measured)
            figures = (median(calls), median(over), min(over), max(over))
            table.add_row(part, subject, *(f"{figure:,.0f}" for figure in figures), f"{share:.2%}")
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main()
