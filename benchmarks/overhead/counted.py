"""The program whose instructions are counted: a number of calls per subject, between marks."""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.overhead.timing import Subject, ignore
from benchmarks.overhead.worker import Bench

KEYS = 20
"""The number of credentials; small, because everything is slow here."""


def run(calls: int, rounds: int, subjects: Mapping[str, Sequence[str]]) -> None:
    """Call each subject `calls` times, and `calls` times more in each further round."""
    rng = random.Random(0)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(directory, KEYS, rng, stack)
        for series, names in subjects.items():
            made = bench.series(series)
            for name in names:
                _call(name, made[name], [calls * (turn + 1) for turn in range(rounds)])


def _call(name: str, subject: Subject, counts: Sequence[int]) -> None:
    for _ in range(KEYS):
        subject.call()
    subject.check(name)
    application, start_response = subject.application, ignore
    batches = [[subject.environ() for _ in range(count)] for count in counts]
    # A garbage collection during these calls would be random, and costs more than a check.
    gc.collect()
    gc.disable()
    _mark()
    for batch in batches:
        for environ in batch:
            application(environ, start_response)
        _mark()
    gc.enable()


def _mark() -> None:
    """The system call at which callgrind writes its count; see `instructions.MARK`."""
    os.getpgid(0)


if __name__ == "__main__":
    run(**json.loads(sys.argv[1]))
