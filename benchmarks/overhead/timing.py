"""Times single calls of several WSGI applications in random order, and takes medians.

Blocks of calls drift by more than what is measured here. So each call is timed by itself, right
beside those that it is compared with, and what the clock costs cancels out in the difference.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

Environ = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What one series of calls calls: ``environ`` is made afresh for each, as a server does."""

    application: Callable[[Environ, Any], Any]
    environ: Callable[[], Environ]
    start_response: Callable[..., Any]


def time_calls(
    subjects: Mapping[str, Subject], calls: int, warm: int, rng: random.Random
) -> dict[str, float]:
    """The median duration of a call of each subject, in nanoseconds.

    ``calls`` of each are counted, after ``warm`` of each that are not.
    """
    for subject in subjects.values():
        for _ in range(warm):
            subject.application(subject.environ(), subject.start_response)
    order = [name for name in subjects for _ in range(calls)]
    rng.shuffle(order)
    durations: dict[str, list[int]] = {name: [] for name in subjects}
    for name in order:
        subject = subjects[name]
        application, start_response = subject.application, subject.start_response
        environ = subject.environ()
        start = perf_counter_ns()
        application(environ, start_response)
        durations[name].append(perf_counter_ns() - start)
    return {name: float(median(taken)) for name, taken in durations.items()}
