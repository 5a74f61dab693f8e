"""Every part of the benchmarks: its measurements, options and presentation."""

from __future__ import annotations

import sys
from dataclasses import replace

import benchmarks.boxes.driver
import benchmarks.boxes.page
import benchmarks.boxes.plan
import benchmarks.boxes.results
import benchmarks.limits.driver
import benchmarks.limits.page
import benchmarks.limits.plan
import benchmarks.limits.results
import benchmarks.load.driver
import benchmarks.load.page
import benchmarks.load.plan
import benchmarks.load.results
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
import benchmarks.scale.results
import benchmarks.verify.driver
import benchmarks.verify.page
import benchmarks.verify.plan
import benchmarks.verify.results
from benchmarks.micro.goals import FREE_THREADED
from benchmarks.micro.peers import PEERS
from benchmarks.parts import Part, Report


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


def load_part(settings: benchmarks.load.plan.LoadSettings | None = None) -> Part:
    """Locust against gunicorn; ``settings`` overrides the defaults of full and quick runs."""

    def measure(quick: bool, report: Report) -> benchmarks.load.results.LoadResults:
        chosen = settings or (benchmarks.load.plan.QUICK if quick else benchmarks.load.plan.FULL)
        return benchmarks.load.driver.run(chosen, report)

    return Part(
        name="load",
        about="the service under load, by Locust",
        measure=measure,
        view=benchmarks.load.page.VIEW,
        whole=settings is None,
    )


def scale_part(settings: benchmarks.scale.plan.ScaleSettings | None = None) -> Part:
    """Misses, memory, throughput and a soak test; ``settings`` overrides the defaults."""

    def measure(quick: bool, report: Report) -> benchmarks.scale.results.ScaleResults:
        chosen = settings or (benchmarks.scale.plan.QUICK if quick else benchmarks.scale.plan.FULL)
        return benchmarks.scale.driver.run(chosen, report)

    return Part(
        name="scale",
        about="more credentials, workers, threads, and time",
        measure=measure,
        view=benchmarks.scale.page.VIEW,
        whole=settings is None,
    )


def boxes_part(settings: benchmarks.boxes.plan.BoxesSettings | None = None) -> Part:
    """Several boxes on a PostgreSQL of their own; ``settings`` overrides the defaults."""

    def measure(quick: bool, report: Report) -> benchmarks.boxes.results.BoxesResults:
        chosen = settings or (benchmarks.boxes.plan.QUICK if quick else benchmarks.boxes.plan.FULL)
        return benchmarks.boxes.driver.run(chosen, report)

    return Part(
        name="boxes",
        about="several boxes on PostgreSQL",
        measure=measure,
        view=benchmarks.boxes.page.VIEW,
        whole=settings is None,
        optional=True,
    )


def verify_part(settings: benchmarks.verify.plan.VerifySettings | None = None) -> Part:
    """Checks for a reverse proxy, which is nginx; ``settings`` overrides the defaults."""

    def measure(quick: bool, report: Report) -> benchmarks.verify.results.VerifyResults:
        plan = benchmarks.verify.plan
        return benchmarks.verify.driver.run(
            settings or (plan.QUICK if quick else plan.FULL), report
        )

    return Part(
        name="verify",
        about="checks for a reverse proxy",
        measure=measure,
        view=benchmarks.verify.page.VIEW,
        whole=settings is None,
        optional=True,
    )


def limits_part(settings: benchmarks.limits.plan.LimitsSettings | None = None) -> Part:
    """A limited key over several workers; ``settings`` overrides the defaults."""

    def measure(quick: bool, report: Report) -> benchmarks.limits.results.LimitsResults:
        plan = benchmarks.limits.plan
        return benchmarks.limits.driver.run(
            settings or (plan.QUICK if quick else plan.FULL), report
        )

    return Part(
        name="limits",
        about="what a limited key may do over several workers",
        measure=measure,
        view=benchmarks.limits.page.VIEW,
        whole=settings is None,
        optional=True,
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


PARTS = (
    *(overhead_part(), load_part(), scale_part(), boxes_part(), verify_part(), limits_part()),
    cache_part(),
)
"""All parts with their default measurements, in the order of the page and of the run."""
