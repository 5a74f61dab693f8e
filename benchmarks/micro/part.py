"""The part ``cache``: fastcache alone, beside ``dict`` and other caches."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.micro import driver, goals, page, plan, plots
from benchmarks.micro.peers import PEERS
from benchmarks.micro.results import Results
from benchmarks.parts import Measured, PartName, Report, Table, Verdict, write_json


@dataclass(frozen=True)
class CachePart:
    """Times and memory of the cache by itself."""

    only: tuple[str, ...] = plan.PARTS
    """Which of its scenarios."""
    peers: tuple[str, ...] = tuple(PEERS)
    free_threaded: str | None = None
    """The executable of a Python without the GIL, to measure threads on as well."""

    name: PartName = "cache"
    about: str = "the cache alone, beside others"

    @property
    def whole(self) -> bool:
        return replace(plan.FULL, parts=self.only, peers=self.peers).whole

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        settings = plan.QUICK if quick else plan.FULL
        settings = replace(settings, parts=self.only, peers=self.peers)
        interpreters = {"default": sys.executable}
        if self.free_threaded:
            interpreters[goals.FREE_THREADED] = self.free_threaded
        results = driver.run(settings, interpreters, report)
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
