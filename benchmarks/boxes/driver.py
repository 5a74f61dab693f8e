"""Creates the databases, runs the measuring processes and the boxes, and collects the figures."""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.bootstrap import RESAMPLES, Bootstrap, Estimate
from benchmarks.boxes.plan import (
    BOXES,
    HIT,
    HIT_SQLITE,
    MISS,
    SELECT,
    WORKERS,
    BoxesSettings,
    CallsJob,
)
from benchmarks.boxes.results import BoxesResults, Calls, Revocations
from benchmarks.boxes.server import postgresql, version
from benchmarks.boxes.services import Box, boxes
from benchmarks.load.credentials import read_derivation_key
from benchmarks.load.processes import Cores, running_on
from benchmarks.load.seeding import seed
from benchmarks.load.service import clean_environment
from benchmarks.parts import Report
from latchkey.store.database_urls import database_at
from latchkey.store.sqlite.location import database_url

_PATIENCE = 300.0
_WARM = 4
# More than a poll of a healthy box takes.
_PAUSE = 0.05


class MeasurementFailed(RuntimeError):
    """A process or a box did not do what is measured; the message says what."""


def run(settings: BoxesSettings, report: Report) -> BoxesResults:
    """Measure everything; raises an error if a process or a box fails."""
    expected = settings.processes + 3
    done = 0

    def next_step(name: str) -> None:
        nonlocal done
        report(done, expected, name)
        done += 1

    next_step("storing credentials")
    # Otherwise the figures depend on whether a connection's server process shares the core.
    apart = Cores.apart()
    with postgresql(apart) as url, tempfile.TemporaryDirectory(prefix="latchkey-boxes-") as name:
        server = version(url)
        job = _job(settings, url, Path(name))
        answers = []
        for turn in range(settings.processes):
            next_step(f"single calls, process {turn + 1}")
            with running_on(apart.client):
                answers.append(_work(replace(job, seed=time.time_ns())))
    with (
        postgresql(Cores.together()) as url,
        boxes(url, BOXES, settings.lease) as (running, issuer),
    ):
        next_step("revocations, all boxes healthy")
        changes = _Changes(url, running, issuer)
        changes.revoke(_WARM * BOXES)
        healthy = changes.revoke(settings.revocations)
        next_step("revocations, one box stopped")
        cut_off = changes.revoke_beside_a_stopped_box(settings.cut_off)
    report(expected, expected, "done")
    return BoxesResults(
        server=server,
        boxes=BOXES,
        workers=WORKERS,
        lease=settings.lease,
        calls=_calls(answers),
        healthy=healthy,
        cut_off=cut_off,
    )


def _job(settings: BoxesSettings, url: str, directory: Path) -> CallsJob:
    key_file = directory / "derivation.key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{secrets.token_hex(32)}\n")
    sqlite = database_url(directory / "calls.db")
    for each in (url, sqlite):
        database_at(each).prepare()
        seed(each, read_derivation_key(key_file), range(settings.credentials))
    return CallsJob(
        postgresql=url,
        sqlite=sqlite,
        key_file=str(key_file),
        directory=str(directory),
        credentials=settings.credentials,
        hot=settings.hot,
        rounds=settings.rounds,
        calls=settings.calls,
        seed=0,
    )


def _work(job: CallsJob) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.boxes.worker"],
        input=job.to_json(),
        cwd=job.directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        raise MeasurementFailed(done.stderr)
    answer: dict[str, list[float]] = json.loads(done.stdout)
    return answer


def _calls(processes: Sequence[dict[str, list[float]]]) -> Calls:
    drawn = Bootstrap(processes)

    def of(name: str) -> Callable[[Mapping[str, float]], float]:
        return lambda medians: medians[name]

    found = {name: drawn.estimate(of(name), name) for name in (SELECT, MISS, HIT_SQLITE, HIT)}
    return Calls(
        processes=list(processes),
        estimates={name: each for name, each in found.items() if each is not None},
        over_select=drawn.estimate(lambda medians: medians[MISS] / medians[SELECT], MISS, SELECT),
        added_to_hit=drawn.estimate(
            lambda medians: 1000 * (medians[HIT] - medians[HIT_SQLITE]), HIT, HIT_SQLITE
        ),
    )


class _Changes:
    """Revocations at each box in turn, of keys that every box has cached."""

    def __init__(self, url: str, running: Sequence[Box], issuer: str) -> None:
        self._url = url
        self._boxes = running
        self._issuer = issuer
        self._turn = 0

    def revoke(self, count: int) -> Revocations:
        """Revoke new keys while all boxes are healthy."""
        taken, late = [], 0
        for _ in range(count):
            api_key, secret = self._new_key()
            self._turn += 1
            taken.append(self._revoke(self._boxes[self._turn % len(self._boxes)], api_key))
            late += self._admitted(self._boxes, secret)
        return _revocations(taken, late)

    def revoke_beside_a_stopped_box(self, count: int) -> Revocations:
        """Revoke one key each time that another box was stopped."""
        taken, late = [], 0
        for _ in range(count):
            self._await_all_live()
            api_key, secret = self._new_key()
            self._turn += 1
            stopped, asked, *others = (
                self._boxes[(self._turn + place) % len(self._boxes)]
                for place in range(len(self._boxes))
            )
            with stopped.stopped():
                taken.append(self._revoke(asked, api_key))
                late += self._admitted([asked, *others], secret)
            late += self._admitted([stopped], secret)
        return _revocations(taken, late)

    def _new_key(self) -> tuple[str, str]:
        """A new key that the workers of all boxes have cached."""
        status, made = self._boxes[0].ask(
            "POST", "/v1/api_keys", self._issuer, {"name": "benchmark"}
        )
        if status != 201:
            raise MeasurementFailed(f"no key was created: {status} {made}")
        secret = str(made["api_secret"])
        for _ in range(_WARM):
            if self._admitted(self._boxes, secret) != len(self._boxes):
                raise MeasurementFailed("a new key was refused")
        return str(made["api_key"]), secret

    def _revoke(self, box: Box, api_key: str) -> float:
        """Revoke a key; returns milliseconds."""
        start = time.perf_counter()
        status, said = box.ask("DELETE", f"/v1/api_keys/{api_key}", self._issuer)
        taken = 1000 * (time.perf_counter() - start)
        if status != 200:
            raise MeasurementFailed(f"a key was not revoked: {status} {said}")
        return round(taken, 3)

    @staticmethod
    def _admitted(asked: Sequence[Box], secret: str) -> int:
        return sum(box.ask("GET", "/v1/account", secret)[0] == 200 for box in asked)

    def _await_all_live(self) -> None:
        until = time.monotonic() + _PATIENCE
        with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as connection:
            while True:
                row = connection.execute("SELECT count(*) FROM box WHERE live").fetchone()
                if row is not None and row[0] >= len(self._boxes):
                    return
                if time.monotonic() > until:
                    raise MeasurementFailed("a stopped box has not registered again")
                time.sleep(_PAUSE)


def _revocations(taken: list[float], late: int) -> Revocations:
    return Revocations(
        taken=taken,
        p50=quantile(taken, 0.50),
        p99=quantile(taken, 0.99),
        longest=max(taken, default=0.0),
        late=late,
    )


def quantile(taken: Sequence[float], share: float) -> Estimate | None:
    """A quantile and its 95 % interval; None for too few figures to have it."""
    if len(taken) * (1 - share) < 1:
        return None

    def of(drawn: Sequence[Any]) -> float:
        return float(sorted(drawn)[int(share * len(drawn))])

    rng = random.Random(len(taken))
    ordered = sorted(of(rng.choices(taken, k=len(taken))) for _ in range(RESAMPLES))
    edge = len(ordered) // 40
    return Estimate(value=of(taken), low=ordered[edge], high=ordered[-1 - edge])
