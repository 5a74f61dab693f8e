"""The part ``scale``: what becomes of it all with more of everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts import Measured, PartName, Report, Table, Verdict, write_json
from benchmarks.scale import driver, goals, page, plan, plots
from benchmarks.scale.results import Results


@dataclass(frozen=True)
class ScalePart:
    """Misses, memory, throughput and a soak."""

    settings: plan.Settings | None = None
    """How much is measured, in place of what a whole or a quick run takes."""

    name: PartName = "scale"
    about: str = "more credentials, workers, threads, and time"

    @property
    def whole(self) -> bool:
        return self.settings is None

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        settings = self.settings or (plan.QUICK if quick else plan.FULL)
        results = driver.run(settings, report)
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")

    def goals(self, measured: Measured) -> list[Verdict]:
        return goals.verdicts(Results.model_validate(measured))

    def tables(self, measured: Measured) -> Mapping[str, Table]:
        return page.tables(Results.model_validate(measured))

    def words(self, measured: Measured) -> Mapping[str, str]:
        return page.words(Results.model_validate(measured))

    def page(self) -> str:
        return Path(__file__).with_name("page.md").read_text()

    def draw(self, measured: Measured, directory: Path) -> list[Path]:
        return plots.draw(Results.model_validate(measured), directory)
