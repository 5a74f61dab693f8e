"""Creates the databases, runs the measuring processes and services, and collects the figures."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bootstrap import Bootstrap, Estimate
from benchmarks.load.client import Clients, Load, ready
from benchmarks.load.credentials import read_derivation_key
from benchmarks.load.driver import measure, warm_up
from benchmarks.load.plan import HOT, USERS
from benchmarks.load.processes import Cores, held
from benchmarks.load.results import Loaded
from benchmarks.load.seeding import seed
from benchmarks.load.service import Service, clean_environment, running
from benchmarks.parts import Report
from benchmarks.scale.plan import ScaleSettings, real_every
from benchmarks.scale.results import Memory, Misses, Room, ScaleResults, Shared, Soak
from benchmarks.scale.slope import slope
from benchmarks.scale.worker import ScaleJob
from latchkey.config import Settings
from latchkey.store.sqlite.location import database_url
from latchkey.store.sqlite.migrate import migrate

_WORKER_PATIENCE = 300
_SOAK_KEYS = 5_000
_SOAK_CACHE = 1_000
_SAMPLE_PAUSE = 1.0


class WorkerFailed(RuntimeError):
    """A measuring process failed; the message is its error."""


def run(settings: ScaleSettings, report: Report) -> ScaleResults:
    """Measure everything; raises an error if a process or a service fails."""
    grid = [(workers, threads) for workers in settings.workers for threads in settings.threads]
    sizes = settings.credentials
    expected = 2 * len(sizes) + 2 * settings.processes + len(grid) + 1
    done = 0

    def next_step(name: str) -> None:
        nonlocal done
        report(done, expected, name)
        done += 1

    with tempfile.TemporaryDirectory(prefix="latchkey-scale-") as name:
        databases = _Databases(Path(name))
        for count in sizes:
            next_step(f"storing {count:,} credentials")
            databases.make(count)
        misses, shared = [], []
        for turn in range(settings.processes):
            next_step(f"misses, process {turn + 1}")
            misses.append(_work(databases.job("misses", sizes, settings)))
            next_step(f"shared caches, process {turn + 1}")
            shared.append(_work(databases.job("shared", sizes[1:2], settings)))
        memory = []
        for count in sizes:
            next_step(f"memory for {count:,} credentials")
            found = _work(databases.job("memory", [count], settings))
            found["presented"] = found.pop("distinct")
            memory.append(Memory(credentials=count, **found))
        seeding = databases.seconds
    measured = []
    with ready() as clients:
        for workers, threads in grid:
            next_step(f"{workers} workers of {threads} threads")
            measured.append(_throughput(workers, threads, settings, clients))
        next_step("soak")
        soak = _soak(settings, clients)
    report(expected, expected, "done")
    return ScaleResults(
        cores=len(os.sched_getaffinity(0)),
        misses=_misses(sizes, misses, seeding),
        memory=memory,
        shared=_shared(shared),
        grid=measured,
        soak=soak,
    )


class _Databases:
    """Databases of different sizes with the same derivation key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key_file = directory / "derivation.key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(f"{secrets.token_hex(32)}\n")
        self.seconds: dict[str, float] = {}

    def _path(self, count: int) -> Path:
        return self._directory / f"{count}.db"

    def make(self, count: int) -> None:
        url = database_url(self._path(count))
        migrate(url)
        began = time.monotonic()
        maker = read_derivation_key(self._key_file)
        seed(url, maker, range(count), real_every(count))
        self.seconds[str(count)] = round(time.monotonic() - began, 2)

    def job(self, kind: Any, sizes: Sequence[int], settings: ScaleSettings) -> ScaleJob:
        memory: Path = Settings.model_fields["shared_memory"].default
        return ScaleJob(
            kind=kind,
            databases={str(self._path(count)): count for count in sizes},
            key_file=str(self._key_file),
            directory=str(memory),
            rounds=settings.rounds,
            calls=settings.calls,
            shared_turns=settings.shared_turns,
            seed=time.time_ns(),
        )


def _work(job: ScaleJob) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale.worker"],
        input=job.to_json(),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=_WORKER_PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        raise WorkerFailed(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _misses(
    sizes: Sequence[int], answers: Sequence[Mapping[str, Any]], seeding: dict[str, float]
) -> Misses:
    processes = [answer["figures"] for answer in answers]
    names = [str(count) for count in sizes]
    return Misses(
        credentials=list(sizes),
        presented={str(count): len(range(0, count, real_every(count))) for count in sizes},
        seeding=seeding,
        processes=processes,
        selects={name: min(answer["selects"][name] for answer in answers) for name in names},
        estimates=_estimates(processes, names),
        over_smallest=_ratios(processes, names, names[0]),
    )


def _shared(answers: Sequence[Mapping[str, Any]]) -> Shared:
    processes = [answer["figures"] for answer in answers]
    names = list(processes[0])
    estimates = _estimates(processes, names)
    ratios = _ratios(processes, names, "roomy")

    def mean(name: str, what: str) -> float:
        figures: list[float] = [answer["lookups"][name][what] for answer in answers]
        return round(sum(figures) / len(figures), 4)

    rooms = [
        Room(
            name=name,
            estimate=estimates[name],
            over_roomy=ratios.get(name),
            hits=mean(name, "hits"),
            selects=mean(name, "selects"),
            evictions=mean(name, "evictions"),
        )
        for name in names
    ]
    return Shared(distinct=answers[0]["distinct"], processes=processes, rooms=rooms)


def _estimates(processes: list[Any], names: Sequence[str]) -> dict[str, Estimate]:
    drawn = Bootstrap(processes)
    found = {name: drawn.estimate(_of(name), name) for name in names}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _ratios(processes: list[Any], names: Sequence[str], base: str) -> dict[str, Estimate]:
    drawn = Bootstrap(processes)
    found = {name: drawn.estimate(_over(name, base), name, base) for name in names if name != base}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _of(name: str) -> Callable[[Mapping[str, float]], float]:
    return lambda medians: medians[name]


def _over(name: str, base: str) -> Callable[[Mapping[str, float]], float]:
    return lambda medians: medians[name] / medians[base]


def _throughput(workers: int, threads: int, settings: ScaleSettings, clients: Clients) -> Loaded:
    """Hits, with client and server on all cores, because two workers need both."""
    cores = Cores.together()
    given = {"workers": workers, "threads": threads}
    with running(range(HOT), cores=cores, settings=given) as service:
        warm_up(service, HOT)
        load = Load("hits", settings.seconds, 2 * USERS, keys=HOT, most=settings.requests)
        about = f"{workers} × {threads}"
        return measure(about, "hits over 1,000 keys", load, service, clients, cores, 1)[0]


def _soak(settings: ScaleSettings, clients: Clients) -> Soak:
    """A mixture of all requests, with caches that are too small: entries are evicted constantly."""
    cores = Cores.apart()
    times: list[float] = []
    samples: list[tuple[int, int, int, int]] = []
    given = {"workers": 2, "cache_size": _SOAK_CACHE, "shared_size": 8}
    with running(range(_SOAK_KEYS + settings.soak_fresh), cores=cores, settings=given) as service:
        load = Load(
            "mixed",
            settings.soak_seconds,
            USERS,
            keys=_SOAK_KEYS,
            fresh_keys=settings.soak_fresh,
            fresh_from=_SOAK_KEYS,
            most=settings.requests,
        )

        def sample(elapsed: float) -> None:
            if not times or elapsed - times[-1] >= _SAMPLE_PAUSE:
                times.append(round(elapsed, 2))
                samples.append(_sample(service))

        loaded, _ = measure("soak", "a mixture", load, service, clients, cores, 1, sample)
    warm = settings.soak_seconds * settings.soak_warm
    # The clients end before Locust does.
    counted = [
        (when, float(private))
        for when, (private, *_) in zip(times, samples, strict=True)
        if warm <= when <= settings.soak_seconds
    ]
    growth = slope(counted)
    private, resident, segment, descriptors = (list(each) for each in zip(*samples, strict=True))
    return Soak(
        load=loaded,
        warm=warm,
        times=times,
        private=private,
        resident=resident,
        segment=segment,
        descriptors=descriptors,
        growth=None if growth is None else _per_request(growth, loaded.rate),
    )


def _sample(service: Service) -> tuple[int, int, int, int]:
    found = [held(worker) for worker in service.workers]
    return (
        sum(each.private for each in found),
        sum(each.resident for each in found),
        service.segment.stat().st_blocks * 512,
        sum(each.descriptors for each in found),
    )


def _per_request(growth: Estimate, rate: float) -> Estimate:
    ends = (each / rate for each in (growth.value, growth.low, growth.high))
    value, low, high = (float(f"{each:.4g}") for each in ends)
    return Estimate(value=value, low=low, high=high)
