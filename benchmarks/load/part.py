"""The part ``load``: Locust against gunicorn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import driver, goals, page, plan, plots
from benchmarks.load.results import Results
from benchmarks.parts import PartName, Report, ShownPart, View, write_json


@dataclass(frozen=True)
class LoadPart(ShownPart):
    """Latencies and rates of the whole service."""

    settings: plan.Settings | None = None
    """How long is measured, in place of what a whole or a quick run takes."""

    name: PartName = "load"
    about: str = "the service under load, by Locust"

    view = View(
        Results,
        goals.verdicts,
        page.tables,
        page.words,
        plots.draw,
        Path(__file__).with_name("page.md"),
    )

    @property
    def whole(self) -> bool:
        return self.settings is None

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        settings = self.settings or (plan.QUICK if quick else plan.FULL)
        results = driver.run(settings, report)
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")
