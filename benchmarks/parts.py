"""A part of the benchmarks: it measures into one JSON file, and shows the results.

A run is a directory with ``run.json`` (`benchmarks.runs`) and the JSON of each part. Verdicts,
tables, plots and pages are generated from these files alone, at any later time.
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
"""Called with the number of finished steps of a part, their total, and the next step."""

Measured = Any
"""The content of a part's JSON file, as `json.loads` returns it."""

PartName = Literal["cache", "overhead", "load", "scale", "boxes", "verify", "limits"]

MET = "**met**"
MISSED = "**missed**"
UNPROVED = "not proved"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """A goal of the project, and whether the figures meet it."""

    what: str
    goal: str
    measured: str
    """The figure with its interval, as text; empty if there is none."""
    state: str
    """`MET`, `MISSED`, `UNPROVED` or `UNMEASURED`; more words may follow."""


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header. Cells are single-line Markdown with formatted figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown; for a table without rows, a word instead."""
        if not self.rows:
            return "Not measured."
        lines = [list(self.head), ["---"] * len(self.head), *map(list, self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


ResultsT = TypeVar("ResultsT", bound=BaseModel)


@dataclass(frozen=True)
class View(Generic[ResultsT]):
    """How the results of a part are shown."""

    results: type[ResultsT]
    """The form of the part's JSON."""
    goals: Callable[[ResultsT], list[Verdict]]
    """The part's goals, decided by the confidence intervals."""
    tables: Callable[[ResultsT], Mapping[str, Table]]
    """Every table by its name."""
    words: Callable[[ResultsT], Mapping[str, str]]
    """The other placeholders of the part's page: settings, counts, sentences, lists."""
    draw: Callable[[ResultsT, Path], list[Path]]
    """Draws every plot with `benchmarks.plots.draw`: equal figures give identical files."""
    page: Path
    """The part's section in Markdown, a `string.Template`.

    It has headings of level two and below, and placeholders for `tables` (``$table_<name>``) and
    `words` (``$<name>``). A plot is an image without a directory and an extension:
    ``![What it shows](overhead-main)``. A line with a plot that was not drawn is omitted. The whole
    section is omitted if the part's JSON does not exist.
    """


@dataclass(frozen=True)
class Part:
    """One kind of measurement, and how its results are shown."""

    name: PartName
    """The name of the sub-command, and of the file without ``.json``."""
    about: str
    """The object of the verb "Measure" in the command's help."""
    measure: Callable[[bool, Report], BaseModel]
    """Measures, quickly or in full, and reports its steps.

    A quick measurement takes less than a minute and proves nothing. Any exception stops it.
    """
    view: View[Any]
    whole: bool = True
    """Whether ``measure`` measures everything."""
    optional: bool = False
    """Whether a run without it is complete: it needs programs that are not installed everywhere."""

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        """Measure, and write ``<name>.json`` to an existing directory.

        If the measurement raises an exception, no file is written.
        """
        results = self.measure(quick, report)
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")

    def goals(self, measured: Measured) -> list[Verdict]:
        """The verdicts on a part's JSON.

        For a quick run they are shown as not proved. Raises pydantic's ValidationError for JSON of
        another form, as do ``tables``, ``words`` and ``draw``.
        """
        return self.view.goals(self.view.results.model_validate(measured))

    def tables(self, measured: Measured) -> Mapping[str, Table]:
        """Every table of a part's JSON, by name."""
        return self.view.tables(self.view.results.model_validate(measured))

    def words(self, measured: Measured) -> Mapping[str, str]:
        """The other placeholders of the part's page."""
        return self.view.words(self.view.results.model_validate(measured))

    def page(self) -> str:
        """The part's section in Markdown, a `string.Template`."""
        return self.view.page.read_text()

    def draw(self, measured: Measured, directory: Path) -> list[Path]:
        """Draw every plot; returns the written files."""
        return self.view.draw(self.view.results.model_validate(measured), directory)


def decide(estimate: Estimate | None, bound: float, *, at_least: bool = False) -> str:
    """Whether a bound is met: by the whole interval (met), or not even by the figure (missed)."""
    if estimate is None:
        return UNMEASURED

    def keeps(figure: float) -> bool:
        return figure >= bound if at_least else figure <= bound

    if not keeps(estimate.value):
        return MISSED
    return MET if keeps(estimate.low if at_least else estimate.high) else UNPROVED


def format_estimate(estimate: Estimate | None, unit: str = "") -> str:
    """A figure with its interval, to three digits; empty for None."""
    if estimate is None:
        return ""
    low, high = format_figure(estimate.low), format_figure(estimate.high)
    return f"{format_figure(estimate.value)}{unit} ({low}–{high})"


def format_figure(figure: float) -> str:
    """A figure to three digits, in plain notation."""
    if abs(figure) >= 99.95:
        return f"{figure:,.0f}"
    # z: a value that is rounded to zero has no sign.
    return f"{figure:.1f}" if abs(figure) >= 9.995 else f"{figure:z.2f}"


def write_json(measured: Measured, path: Path) -> None:
    """Write a part's file atomically, with each list of figures on one line."""
    text = json.dumps(measured, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[-\d.,\se]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    draft = path.with_suffix(".unfinished")
    draft.write_text(text + "\n")
    draft.replace(path)
