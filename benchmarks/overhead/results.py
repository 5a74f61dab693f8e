"""The form of ``overhead.json``, and the figures that are computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Bootstrap, Estimate
from benchmarks.overhead.timing import Timing

BARE = "bare"
AGAIN = "bare, again"
"""The bare call as a subject of its own: what it adds is what the method makes of nothing."""
YARDSTICK = "SHA-256 of 79 bytes"
GOAL_YARDSTICK = 325
"""What it takes, in nanoseconds, on the machine for which the goals in microseconds were set."""

_BARE_OF = {"ways": "hits", "peers": "flask"}
"""The series that has the bare call of another, in which it is not counted again."""


class Instructions(BaseModel):
    """What counted the instructions of a call, and how many there were by series and subject."""

    model_config = ConfigDict(extra="forbid")

    tool: str | None
    """With its version; ``None`` where there is none."""
    absent: str | None
    """Why there is none."""
    calls: int
    digest: str | None
    """By what a secret was digested there; in the calls that were timed it may be another."""
    counts: dict[str, dict[str, float]]

    def added(self, series: str, subject: str) -> float | None:
        """Instructions of a call beyond those of the bare one."""
        counts = self.counts.get(series, {})
        bare = self.counts.get(_BARE_OF.get(series, series), {}).get(BARE)
        return None if bare is None or subject not in counts else counts[subject] - bare


class OverheadResults(BaseModel):
    """One measurement."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[2] = 2
    settings: dict[str, Any]
    digest: str
    """By what a secret was digested: it depends on the processor."""
    processes: list[dict[str, dict[str, Timing]]]
    """Of each process, what it found of each subject by series."""
    instructions: Instructions

    @cached_property
    def _drawn(self) -> Bootstrap:
        return Bootstrap(
            [
                {
                    f"{series}: {name}: {field}": [figure]
                    for series, subjects in process.items()
                    for name, timing in subjects.items()
                    for field, figure in asdict(timing).items()
                }
                for process in self.processes
            ]
        )

    def subjects(self, series: str) -> list[str]:
        """The subjects of a series, in their order, without the bare one."""
        found = self.processes[0].get(series, {}) if self.processes else {}
        return [name for name in found if name not in (BARE, YARDSTICK)]

    def call(self, series: str, subject: str) -> Estimate | None:
        """A whole call, in nanoseconds, with what the clock itself takes."""
        one = f"{series}: {subject}: call"
        return self._drawn.estimate(lambda figures: figures[one], one)

    def added(self, series: str, subject: str, over: str = BARE) -> Estimate | None:
        """What a call takes more than another of the same series, in nanoseconds.

        Over another than the bare one it is the difference of what both add to that.
        """
        one, other = f"{series}: {subject}: added", f"{series}: {over}: added"
        return self._drawn.estimate(lambda figures: figures[one] - figures[other], one, other)

    def by_yardstick(self, series: str, subject: str, over: str = BARE) -> Estimate | None:
        """``added``, where the yardstick would take `GOAL_YARDSTICK`: as on the goals' machine."""
        one, other = f"{series}: {subject}: added", f"{series}: {over}: added"
        yardstick = f"hits: {YARDSTICK}: added"

        def scaled(figures: Mapping[str, float]) -> float:
            return (figures[one] - figures[other]) / figures[yardstick] * GOAL_YARDSTICK

        return self._drawn.estimate(scaled, one, other, yardstick)

    def share(self, series: str, subject: str, of: str | None = None) -> Estimate | None:
        """What it takes more, in percent of the bare call of its own or of another series.

        Of its own it is the median over the rounds; of another series, what it adds in percent of
        the median bare call there.
        """
        if of is None or of == series:
            ratio = f"{series}: {subject}: ratio"
            return self._drawn.estimate(lambda figures: 100 * (figures[ratio] - 1), ratio)
        one, whole = f"{series}: {subject}: added", f"{of}: {BARE}: call"
        return self._drawn.estimate(lambda figures: 100 * figures[one] / figures[whole], one, whole)
