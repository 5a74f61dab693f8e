"""Times single calls of several WSGI applications in random order, and takes medians.

Blocks of calls drift by more than what is measured here. So each call is timed by itself, right
beside those that it is compared with, and what the clock costs cancels out in the difference.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

CHECKED = 40
_MOST = 0.8
"""Share of the calls that must go the way they should: a few keys come twice in a row."""


class WrongWay(RuntimeError):
    """A subject answered something else, or went another way, than what it is here for."""


@dataclass(frozen=True)
class Subject:
    """What one series of calls calls: ``environ`` is made afresh for each, as a server does."""

    application: Application
    environ: Callable[[], Environ]
    status: str | None = "200"
    """How its answers begin; ``None`` for an application that answers nothing."""
    went: Callable[[], int] | None = None
    """Counts the calls that went the way that this subject is here for."""

    def call(self) -> None:
        """One whole request, as a server makes it, without looking at the time."""
        finish(self.application(self.environ(), ignore))

    def check(self, name: str) -> None:
        """Call it some times, and see that it does what it should; raises WrongWay."""
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
            raise WrongWay(f"{name}: {self.went() - before} of {CHECKED} calls went that way")


def ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    """A ``start_response`` that does nothing."""


def finish(body: Iterable[bytes]) -> None:
    """Read an answer to its end, and close it."""
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()


def time_calls(
    subjects: Mapping[str, Subject], calls: int, warm: int, rng: random.Random
) -> dict[str, float]:
    """The median duration of a call of each subject, in nanoseconds.

    ``calls`` of each are counted, after ``warm`` of each that are not. Raises WrongWay.
    """
    for name, subject in subjects.items():
        for _ in range(warm):
            subject.call()
        subject.check(name)
    order = [name for name in subjects for _ in range(calls)]
    rng.shuffle(order)
    durations: dict[str, list[int]] = {name: [] for name in subjects}
    for name in order:
        subject = subjects[name]
        application, start_response = subject.application, ignore
        environ = subject.environ()
        start = perf_counter_ns()
        body = application(environ, start_response)
        durations[name].append(perf_counter_ns() - start)
        finish(body)
    return {name: float(median(taken)) for name, taken in durations.items()}
