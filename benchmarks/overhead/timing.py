"""Times single calls of several WSGI applications, round by round, and computes medians.

Blocks of calls drift by more than what is measured here, and so does the machine, for seconds at a
time. So each call is timed separately and compared with the bare call of its own round. The result
is the median of all rounds' differences, and of their ratios. The cost of the clock cancels out in
a difference.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import sub, truediv
from statistics import median
from time import perf_counter_ns
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

CHECKED = 40
_MOST = 0.8
"""The share of calls that must have the expected outcome: a few keys occur twice in a row."""


class WrongWay(RuntimeError):
    """A subject gave another answer, or had another outcome, than expected."""


@dataclass(frozen=True)
class Subject:
    """The calls of one kind; ``environ`` creates a new environ for each, as a server does."""

    application: Application
    environ: Callable[[], Environ]
    status: str | None = "200"
    """The start of its answers; ``None`` for an application with an empty answer."""
    went: Callable[[], int] | None = None
    """Counts the calls with the expected outcome."""

    def call(self) -> None:
        """Make one whole request, as a server does, without timing it."""
        finish(self.application(self.environ(), ignore))

    def check(self, name: str) -> None:
        """Call it several times, and check the outcomes; raises WrongWay."""
        before = self.went() if self.went is not None else 0
        for _ in range(CHECKED):
            said: list[str] = []

            def note(
                status: str, headers: object, exc_info: object = None, said: list[str] = said
            ) -> None:
                said.append(status[:3])

            finish(self.application(self.environ(), note))
            if said != ([] if self.status is None else [self.status]):
                raise WrongWay(f"{name} answered {said}")
        if self.went is not None and self.went() - before < CHECKED * _MOST:
            raise WrongWay(f"{name}: {self.went() - before} of {CHECKED} calls went as expected")


def ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    """A ``start_response`` that does nothing."""


def finish(body: Iterable[bytes]) -> None:
    """Read an answer to its end, and close it."""
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()


@dataclass(frozen=True)
class Timing:
    """Medians over all rounds: of the calls of one subject, and of their comparison."""

    call: float
    """Nanoseconds, including the cost of the clock."""
    added: float
    """Nanoseconds in addition to the bare call of the same round."""
    ratio: float
    """The ratio to the bare call of the same round."""


def time_calls(
    subjects: Mapping[str, Subject], bare: str, calls: int, warm: int, rng: random.Random
) -> dict[str, Timing]:
    """Time every subject once per round, in a new random order each time.

    There are ``calls`` rounds, after ``warm`` uncounted calls of each subject. ``bare`` names the
    subject that the others are compared with. Raises WrongWay.
    """
    for name, subject in subjects.items():
        for _ in range(warm):
            subject.call()
        subject.check(name)
    order = [name for _ in range(calls) for name in rng.sample(list(subjects), len(subjects))]
    durations: dict[str, list[int]] = {name: [] for name in subjects}
    for name in order:
        subject = subjects[name]
        application, start_response = subject.application, ignore
        environ = subject.environ()
        start = perf_counter_ns()
        body = application(environ, start_response)
        durations[name].append(perf_counter_ns() - start)
        finish(body)
    return {name: compare(taken, durations[bare]) for name, taken in durations.items()}


def compare(taken: Sequence[int], bare: Sequence[int]) -> Timing:
    """Compare the calls of one subject with the bare ones, by round, in nanoseconds."""
    return Timing(
        call=float(median(taken)),
        added=float(median(map(sub, taken, bare))),
        ratio=median(map(truediv, taken, bare)),
    )
