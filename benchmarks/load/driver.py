"""Starts each service and its clients, and collects the figures of clients and workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from benchmarks.load import client, plan
from benchmarks.load.client import Clients, Load
from benchmarks.load.credentials import read_derivation_key, secret_of
from benchmarks.load.equivalence import ratio_of_means, ratio_of_quantiles
from benchmarks.load.paths import BARE, OPEN, OPEN_TOO, PROTECTED
from benchmarks.load.processes import Cores
from benchmarks.load.recording import Recording
from benchmarks.load.results import Comparison, Loaded, LoadResults, kinds_of
from benchmarks.load.service import Service, running
from benchmarks.parts import Report
from latchkey import Latchkey
from latchkey.box.segment import ServiceSegment
from latchkey.check.headers import read_plain

_LOOKUPS = {
    "cache": ("cache", "hit"),
    "shared": ("shared", "hit"),
    "select": ("store", "select"),
    "forged": ("derivation", "forged"),
}
_OF_EVERY_SERVICE = (
    *("workers", "failure_limit", "log_level", "bind"),
    *("database_url", "derivation_keys_file", "audit_key_file", "audit_head_file"),
)

Measured = tuple[Loaded, Recording]


def run(settings: plan.LoadSettings, report: Report) -> LoadResults:
    """Measure every scenario; raises ServiceFailed or ClientFailed if one cannot be measured."""
    with client.ready() as clients:
        return _measure_all(settings, clients, report)


def _measure_all(settings: plan.LoadSettings, clients: Clients, report: Report) -> LoadResults:
    groups = plan.groups(settings)
    expected = 5 + sum(len(group.steps) for group in groups)
    done = 0

    def next_step(name: str) -> None:
        nonlocal done
        report(done, expected, name)
        done += 1

    cores = Cores.apart()
    main = Load(
        "twins",
        settings.main_seconds,
        plan.MAIN_USERS,
        keys=plan.HOT,
        most=settings.main_requests,
    )
    crowd = replace(main, seconds=settings.concurrent_seconds, users=plan.USERS)
    warm = settings.warm_seconds

    def twins(name: str, about: str, load: Load, service: Service) -> Measured:
        next_step(about)
        return measure(name, about, load, service, clients, cores, warm)

    with running(range(plan.HOT), application="twins", cores=cores) as service:
        warm_up(service, plan.HOT)
        alike = twins("alike", "two open twins", replace(main, scenario="alike"), service)
        compared = twins("main", "the open and the protected twin", main, service)
        crowded = twins("concurrent", "the same with more clients", crowd, service)
    ceiling = _measure_ceiling(settings, clients, next_step)
    scenarios = []
    for group in groups:
        scenarios += _measure_group(group, settings, clients, cores, next_step)
    report(expected, expected, "intervals")
    return LoadResults(
        cores=len(os.sched_getaffinity(0)),
        pinned=cores.server is not None,
        alike=alike[0],
        alike_comparison=compare(alike[1], OPEN_TOO, OPEN),
        main=compared[0],
        main_comparison=compare(compared[1], PROTECTED, OPEN),
        bare_comparison=compare(compared[1], PROTECTED, BARE),
        concurrent=crowded[0],
        concurrent_comparison=compare(crowded[1], PROTECTED, OPEN),
        scenarios=scenarios,
        ceiling=ceiling,
    )


def measure(
    name: str,
    about: str,
    load: Load,
    service: Service,
    clients: Clients,
    cores: Cores,
    warm: int,
    during: Callable[[float], None] | None = None,
) -> Measured:
    """Load a service; returns the result, and the latencies of the counted seconds."""
    cpu, counters = service.cpu_seconds(), service.counters()
    noted = clients.run(load, service, cores, during)
    cpu, after = service.cpu_seconds() - cpu, service.counters()
    kept = noted.without_edges(warm)
    if not kept.seconds:
        # The run was too short for a complete second.
        kept = noted
    seconds = len(kept.seconds)
    requests = max(noted.requests, 1)
    given = service.settings.model_dump(include=service.settings.model_fields_set)
    shown = {field: str(value) for field, value in given.items() if field not in _OF_EVERY_SERVICE}
    loaded = Loaded(
        name=name,
        about=about,
        users=load.users,
        client_processes=load.processes,
        workers=service.settings.workers,
        threads=service.settings.threads,
        settings=shown,
        keys=load.keys,
        seconds=seconds,
        requests=noted.requests,
        rate=round(
            sum(map(len, chain(*(each.values() for each in kept.latencies.values()))))
            / max(seconds, 1),
            1,
        ),
        server_cpu=round(cpu / requests * 1000, 4),
        client_cpu=round(noted.cpu_seconds / requests * 1000, 4),
        lookups={
            shown: round(after.get(sample, 0) - counters.get(sample, 0))
            for shown, (level, result) in _LOOKUPS.items()
            for sample in [f'latchkey_lookups_total{{level="{level}",result="{result}"}}']
        },
        errors=noted.errors,
        kinds=kinds_of(kept),
        revocations=noted.revocations,
        violations=noted.violations,
    )
    return loaded, kept


def compare(kept: Recording, arm: str, base: str) -> Comparison:
    """Compare one kind of request with another of the same run."""
    seconds, others = kept.latencies.get(arm, {}), kept.latencies.get(base, {})
    return Comparison(
        arm=arm,
        base=base,
        mean=ratio_of_means(seconds, others),
        p99=ratio_of_quantiles(seconds, others, 0.99),
    )


def warm_up(service: Service, count: int) -> None:
    """Cache the credentials below this number, as if another worker had used them.

    Presenting them one after another over HTTP would take longer than the measurement.
    """
    maker = read_derivation_key(service.settings.derivation_keys_file)
    segment = ServiceSegment.open(service.settings)
    latchkey = Latchkey.from_settings(service.settings, shared=segment.for_worker())
    try:
        for number in range(count):
            secret = secret_of(number, maker)
            latchkey.authenticator.authenticate(read_plain(secret))
    finally:
        latchkey.store.close()
        segment.close()


def _measure_ceiling(
    settings: plan.LoadSettings, clients: Clients, next_step: Callable[[str], None]
) -> list[Loaded]:
    """Load a trivial endpoint with one and with two client processes: the maximum of Locust."""
    cores, about = Cores.together(), "a trivial endpoint"
    load = Load("trivial", settings.ceiling_seconds, users=2 * plan.USERS, most=settings.requests)
    found = []
    with running(application="twins", cores=cores) as service:
        for processes in (1, 2):
            name = f"trivial, {processes}"
            next_step(f"{about}, {processes} client processes")
            several, warm = replace(load, processes=processes), settings.warm_seconds
            loaded, _ = measure(name, about, several, service, clients, cores, warm)
            found.append(loaded)
    return found


def _measure_group(
    group: plan.Group,
    settings: plan.LoadSettings,
    clients: Clients,
    cores: Cores,
    next_step: Callable[[str], None],
) -> list[Loaded]:
    known = max(step.keys for step in group.steps)
    fresh = sum(settings.fresh for step in group.steps if step.fresh)
    found = []
    with running(
        range(known + fresh), application=group.application, cores=cores, settings=group.settings
    ) as service:
        warm_up(service, known)
        fresh_from = known
        for step in group.steps:
            next_step(step.name)
            load = Load(
                step.scenario,
                settings.seconds,
                plan.USERS,
                keys=step.keys,
                fresh_keys=settings.fresh if step.fresh else 0,
                fresh_from=fresh_from,
                most=settings.requests,
            )
            fresh_from += load.fresh_keys
            during = _recycling(service, settings.recycle_pause) if step.recycled else None
            loaded, _ = measure(
                step.name, step.about, load, service, clients, cores, settings.warm_seconds, during
            )
            found.append(loaded)
    return found


def _recycling(service: Service, pause: float) -> Callable[[float], None]:
    """A function that replaces the workers every `pause` seconds."""
    due = pause

    def recycle(elapsed: float) -> None:
        nonlocal due
        if elapsed >= due:
            due += pause
            service.recycle()

    return recycle
