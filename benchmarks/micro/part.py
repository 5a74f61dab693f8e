"""The part ``cache``: fastcache alone, beside ``dict`` and other caches."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.micro import driver, goals, page, plan, plots
from benchmarks.micro.peers import PEERS
from benchmarks.micro.results import Results
from benchmarks.parts import PartName, Report, ShownPart, View, write_json


@dataclass(frozen=True)
class CachePart(ShownPart):
    """Times and memory of the cache by itself."""

    only: tuple[str, ...] = plan.PARTS
    """Which of its scenarios."""
    peers: tuple[str, ...] = tuple(PEERS)
    free_threaded: str | None = None
    """The executable of a Python without the GIL, to measure threads on as well."""

    name: PartName = "cache"
    about: str = "the cache alone, beside others"

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
        return replace(plan.FULL, parts=self.only, peers=self.peers).whole

    def run(self, quick: bool, directory: Path, report: Report) -> None:
        settings = plan.QUICK if quick else plan.FULL
        settings = replace(settings, parts=self.only, peers=self.peers)
        interpreters = {"default": sys.executable}
        if self.free_threaded:
            interpreters[goals.FREE_THREADED] = self.free_threaded
        results = driver.run(settings, interpreters, report)
        write_json(results.model_dump(mode="json"), directory / f"{self.name}.json")
