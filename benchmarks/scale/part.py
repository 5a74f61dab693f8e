"""The part ``scale``: what becomes of it all with more of everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts import PartName, Report, ShownPart, View, write_json
from benchmarks.scale import driver, goals, page, plan, plots
from benchmarks.scale.results import Results


@dataclass(frozen=True)
class ScalePart(ShownPart):
    """Misses, memory, throughput and a soak."""

    settings: plan.Settings | None = None
    """How much is measured, in place of what a whole or a quick run takes."""

    name: PartName = "scale"
    about: str = "more credentials, workers, threads, and time"

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
