"""What a part of the benchmarks is: it measures into one JSON file, and shows what that says.

A run is a directory with ``run.json`` (`benchmarks.runs`) and the JSON of each part. Verdicts,
tables, plots and pages are made from these files alone, at any time afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from benchmarks.bootstrap import Estimate

Report = Callable[[int, int, str], None]
"""Told how many steps of a part are done, of how many, and what comes next."""

Measured = Any
"""What a part's JSON file holds, as `json.loads` gives it."""

PartName = Literal["cache", "overhead", "load", "scale"]

MET = "**met**"
MISSED = "**missed**"
UNPROVED = "not proved"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """A goal of the project, and whether the figures reach it."""

    what: str
    goal: str
    measured: str
    """The figure with its interval, in words; empty if there is none."""
    state: str
    """`MET`, `MISSED`, `UNPROVED` or `UNMEASURED`; a few more words may follow."""


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header; cells are Markdown of one line, figures already formatted."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown, or a word instead of a table without rows."""
        if not self.rows:
            return "Not measured."
        lines = [list(self.head), ["---"] * len(self.head), *map(list, self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


ResultsT = TypeVar("ResultsT", bound=BaseModel)


@dataclass(frozen=True)
class View(Generic[ResultsT]):
    """How a part's results are shown."""

    results: type[ResultsT]
    """The form of the part's JSON."""
    goals: Callable[[ResultsT], list[Verdict]]
    """The part's goals, decided by the confidence intervals."""
    tables: Callable[[ResultsT], Mapping[str, Table]]
    """Every table by its name."""
    words: Callable[[ResultsT], Mapping[str, str]]
    """What else the part's page has a place for: settings, counts, sentences, lists."""
    draw: Callable[[ResultsT, Path], list[Path]]
    """Draws every plot with `benchmarks.plots.draw`: the same figures give the same bytes."""
    page: Path
    """The part's section in Markdown, a `string.Template`.

    It has level-two headings and below, and the places that `tables` (``$table_<name>``) and
    `words` (``$<name>``) fill. A plot is an image without directory and ending:
    ``![What it shows](overhead-main)``; a line with one that was not drawn is left out. So is the
    whole section where the part's JSON is not there.
    """


@dataclass(frozen=True)
class Part:
    """One kind of measurement, and how its figures are shown."""

    name: PartName
    """The name of the sub-command and, with ``.json``, of the file."""
    about: str
    """What it measures, to stand after the word "Measure" in the command's help."""
    measure: Callable[[bool, Report], BaseModel]
    """Measures, quickly or in full, and reports its steps.

    A quick measurement takes some tens of seconds and proves nothing. Raises whatever stops it.
    """
    view: View[Any]
    whole: bool = True
    """Whether ``measure`` leaves nothing out."""

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        """Measure, and write ``<name>.json`` into an existing directory.

        Raises whatever stops the measurement; then no file is written.
        """
        results = self.measure(quick, report)
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")

    def goals(self, measured: Measured) -> list[Verdict]:
        """The verdicts of a part's JSON.

        A quick run's are shown as not proved whatever this returns. Raises pydantic's
        ValidationError for JSON of another form, as ``tables``, ``words`` and ``draw`` do.
        """
        return self.view.goals(self.view.results.model_validate(measured))

    def tables(self, measured: Measured) -> Mapping[str, Table]:
        """Every table of a part's JSON, by its name."""
        return self.view.tables(self.view.results.model_validate(measured))

    def words(self, measured: Measured) -> Mapping[str, str]:
        """What else the part's page has a place for."""
        return self.view.words(self.view.results.model_validate(measured))

    def page(self) -> str:
        """The part's section in Markdown, a `string.Template`."""
        return self.view.page.read_text()

    def draw(self, measured: Measured, directory: Path) -> list[Path]:
        """Draw every plot; the files that were written."""
        return self.view.draw(self.view.results.model_validate(measured), directory)


def decide(estimate: Estimate | None, bound: float, *, at_least: bool = False) -> str:
    """Whether a figure keeps to a bound: met if its whole interval does, missed if it does not."""
    if estimate is None:
        return UNMEASURED

    def keeps(figure: float) -> bool:
        return figure >= bound if at_least else figure <= bound

    if not keeps(estimate.value):
        return MISSED
    return MET if keeps(estimate.low if at_least else estimate.high) else UNPROVED


def format_estimate(estimate: Estimate | None, unit: str = "") -> str:
    """A figure with its interval, to three digits; nothing for none."""
    if estimate is None:
        return ""
    low, high = format_figure(estimate.low), format_figure(estimate.high)
    return f"{format_figure(estimate.value)}{unit} ({low}–{high})"


def format_figure(figure: float) -> str:
    """A figure to three digits, in plain notation."""
    if abs(figure) >= 99.95:
        return f"{figure:,.0f}"
    # z: what is rounded to zero has no sign.
    return f"{figure:.1f}" if abs(figure) >= 9.995 else f"{figure:z.2f}"


def write_json(measured: Measured, path: Path) -> None:
    """Write a part's file, each list of figures on one line: whole or not at all."""
    text = json.dumps(measured, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[-\d.,\se]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    draft = path.with_suffix(".unfinished")
    draft.write_text(text + "\n")
    draft.replace(path)
