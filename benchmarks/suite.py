"""Every part of the benchmarks: its measurements, options and presentation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from pydantic import BaseModel

import benchmarks.boxes.driver
import benchmarks.boxes.page
import benchmarks.boxes.plan
import benchmarks.limits.driver
import benchmarks.limits.page
import benchmarks.limits.plan
import benchmarks.load.driver
import benchmarks.load.page
import benchmarks.load.plan
import benchmarks.micro.driver
import benchmarks.micro.page
import benchmarks.micro.plan
import benchmarks.micro.results
import benchmarks.overhead.driver
import benchmarks.overhead.page
import benchmarks.overhead.plan
import benchmarks.overhead.results
import benchmarks.scale.driver
import benchmarks.scale.page
import benchmarks.scale.plan
import benchmarks.verify.driver
import benchmarks.verify.page
import benchmarks.verify.plan
from benchmarks.micro.goals import FREE_THREADED
from benchmarks.micro.peers import PEERS
from benchmarks.parts import Part, PartName, Report, View

SettingsT = TypeVar("SettingsT", contravariant=True)
ResultsT = TypeVar("ResultsT", bound=BaseModel)


class PartMaker(Protocol[SettingsT]):
    """Makes a part; ``settings`` overrides those of full and quick runs."""

    def __call__(self, settings: SettingsT | None = None) -> Part: ...


def _maker(
    name: PartName,
    about: str,
    run: Callable[[SettingsT, Report], ResultsT],
    defaults: tuple[SettingsT, SettingsT],
    view: View[ResultsT],
    *,
    optional: bool = False,
) -> PartMaker[SettingsT]:
    """The maker of a part; ``defaults`` are the settings of full and of quick runs."""
    full, quickest = defaults

    def make(settings: SettingsT | None = None) -> Part:
        def measure(quick: bool, report: Report) -> ResultsT:
            return run(settings or (quickest if quick else full), report)

        return Part(
            name=name,
            about=about,
            measure=measure,
            view=view,
            whole=settings is None,
            optional=optional,
        )

    return make


def overhead_part(
    series: tuple[str, ...] = tuple(benchmarks.overhead.plan.SERIES),
    processes: int | None = None,
    calls: int | None = None,
    settings: benchmarks.overhead.plan.OverheadSettings | None = None,
) -> Part:
    """Single calls in one process; arguments override the defaults of full and quick runs."""
    every = tuple(benchmarks.overhead.plan.SERIES)

    def measure(quick: bool, report: Report) -> benchmarks.overhead.results.OverheadResults:
        chosen = settings or (
            benchmarks.overhead.plan.QUICK if quick else benchmarks.overhead.plan.FULL
        )
        chosen = replace(
            chosen, processes=processes or chosen.processes, calls=calls or chosen.calls
        )
        return benchmarks.overhead.driver.run(chosen, series, quick, report)

    return Part(
        name="overhead",
        about="what a check adds to a call, in process",
        measure=measure,
        view=benchmarks.overhead.page.VIEW,
        whole=(series, processes, calls, settings) == (every, None, None, None),
    )


def cache_part(
    only: tuple[str, ...] = benchmarks.micro.plan.PARTS,
    peers: tuple[str, ...] = tuple(PEERS),
    free_threaded: str | None = None,
) -> Part:
    """The cache by itself: scenarios, peers, and a Python without the GIL for threads."""

    def measure(quick: bool, report: Report) -> benchmarks.micro.results.MicroResults:
        settings = benchmarks.micro.plan.QUICK if quick else benchmarks.micro.plan.FULL
        settings = replace(settings, parts=only, peers=peers)
        interpreters = {"default": sys.executable}
        if free_threaded:
            interpreters[FREE_THREADED] = free_threaded
        return benchmarks.micro.driver.run(settings, interpreters, report)

    return Part(
        name="cache",
        about="the cache alone, beside others",
        measure=measure,
        view=benchmarks.micro.page.VIEW,
        whole=replace(benchmarks.micro.plan.FULL, parts=only, peers=peers).whole,
    )


load_part = _maker(
    "load",
    "the service under load, by Locust",
    benchmarks.load.driver.run,
    (benchmarks.load.plan.FULL, benchmarks.load.plan.QUICK),
    benchmarks.load.page.VIEW,
)
scale_part = _maker(
    "scale",
    "more credentials, workers, threads, and time",
    benchmarks.scale.driver.run,
    (benchmarks.scale.plan.FULL, benchmarks.scale.plan.QUICK),
    benchmarks.scale.page.VIEW,
)
boxes_part = _maker(
    "boxes",
    "several boxes on PostgreSQL",
    benchmarks.boxes.driver.run,
    (benchmarks.boxes.plan.FULL, benchmarks.boxes.plan.QUICK),
    benchmarks.boxes.page.VIEW,
    optional=True,
)
verify_part = _maker(
    "verify",
    "checks for a reverse proxy",
    benchmarks.verify.driver.run,
    (benchmarks.verify.plan.FULL, benchmarks.verify.plan.QUICK),
    benchmarks.verify.page.VIEW,
    optional=True,
)
limits_part = _maker(
    "limits",
    "what a limited key may do over several workers",
    benchmarks.limits.driver.run,
    (benchmarks.limits.plan.FULL, benchmarks.limits.plan.QUICK),
    benchmarks.limits.page.VIEW,
    optional=True,
)

PARTS = (
    *(overhead_part(), load_part(), scale_part(), boxes_part(), verify_part(), limits_part()),
    cache_part(),
)
"""All parts with their default measurements, in the order of the page and of the run."""
