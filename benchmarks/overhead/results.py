"""The form of ``overhead.json``, and the figures computed from it."""

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
"""The bare call as its own subject: what it adds is the error of the method."""
YARDSTICK = "SHA-256 of 79 bytes"
GOAL_YARDSTICK = 325
"""Its time in nanoseconds on the machine for which the goals in microseconds were set."""

_BARE_OF = {"ways": "hits", "peers": "flask"}
"""A series that shares the bare call of another one, where it is not counted again."""


class Instructions(BaseModel):
    """The tool that counted instructions, and the counts by series and subject."""

    model_config = ConfigDict(extra="forbid")

    tool: str | None
    """With its version; ``None`` if there is no tool."""
    absent: str | None
    """The reason if there is no tool."""
    calls: int
    digest: str | None
    """The digest algorithm under the tool; the timed calls may use another one."""
    counts: dict[str, dict[str, float]]

    def added(self, series: str, subject: str) -> float | None:
        """Instructions of a call in addition to those of the bare call."""
        counts = self.counts.get(series, {})
        bare = self.counts.get(_BARE_OF.get(series, series), {}).get(BARE)
        return None if bare is None or subject not in counts else counts[subject] - bare


class OverheadResults(BaseModel):
    """One measurement."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[2] = 2
    settings: dict[str, Any]
    digest: str
    """The digest algorithm, which depends on the processor."""
    processes: list[dict[str, dict[str, Timing]]]
    """For each process, the result for each subject, by series."""
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
        """The subjects of a series in order, without the bare one."""
        found = self.processes[0].get(series, {}) if self.processes else {}
        return [name for name in found if name not in (BARE, YARDSTICK)]

    def call(self, series: str, subject: str) -> Estimate | None:
        """The time of a whole call in nanoseconds, including the cost of the clock."""
        one = f"{series}: {subject}: call"
        return self._drawn.estimate(lambda figures: figures[one], one)

    def added(self, series: str, subject: str, over: str = BARE) -> Estimate | None:
        """The additional time of a call compared with another of the same series, in nanoseconds.

        If the other one is not the bare call, it is the difference of what both add to the bare
        call.
        """
        one, other = f"{series}: {subject}: added", f"{series}: {over}: added"
        return self._drawn.estimate(lambda figures: figures[one] - figures[other], one, other)

    def by_yardstick(self, series: str, subject: str, over: str = BARE) -> Estimate | None:
        """``added``, scaled to a machine on which the yardstick takes `GOAL_YARDSTICK`."""
        one, other = f"{series}: {subject}: added", f"{series}: {over}: added"
        yardstick = f"hits: {YARDSTICK}: added"

        def scaled(figures: Mapping[str, float]) -> float:
            return (figures[one] - figures[other]) / figures[yardstick] * GOAL_YARDSTICK

        return self._drawn.estimate(scaled, one, other, yardstick)

    def share(self, series: str, subject: str, of: str | None = None) -> Estimate | None:
        """The additional time, in percent of the bare call of its own or of another series.

        For its own series, it is the median over the rounds; for another series, the additional
        time in percent of the median bare call there.
        """
        if of is None or of == series:
            ratio = f"{series}: {subject}: ratio"
            return self._drawn.estimate(lambda figures: 100 * (figures[ratio] - 1), ratio)
        one, whole = f"{series}: {subject}: added", f"{of}: {BARE}: call"
        return self._drawn.estimate(lambda figures: 100 * figures[one] / figures[whole], one, whole)
