"""Starts gunicorn with several numbers of workers, and sends requests of one key."""

from __future__ import annotations

import importlib.metadata
import random
from collections import defaultdict

from benchmarks.bootstrap import Bootstrap
from benchmarks.limits.client import send_for
from benchmarks.limits.plan import PATHS, RATE, SUBJECTS, LimitsSettings
from benchmarks.limits.results import Cell, Counted, LimitsResults
from benchmarks.load.credentials import read_derivation_key, secret_of
from benchmarks.load.processes import Cores
from benchmarks.load.service import running
from benchmarks.parts import Report

_SEED = 26


def run(settings: LimitsSettings, report: Report) -> LimitsResults:
    """Measure all subjects; raises ServiceFailed or ClientFailed."""
    rng = random.Random(_SEED)
    found: dict[tuple[str, int], list[Counted]] = defaultdict(list)
    starts = [workers for _ in range(settings.starts) for workers in settings.workers]
    for number, workers in enumerate(starts):
        report(number, len(starts), f"{workers} workers")
        for subject, counted in _start(settings, workers, rng).items():
            found[subject, workers].append(counted)
    report(len(starts), len(starts), "intervals")
    return LimitsResults(
        flask_limiter=importlib.metadata.version("flask-limiter"),
        rate=RATE,
        seconds=settings.seconds,
        users=settings.users,
        cells=[_cell(subject, workers, each) for (subject, workers), each in found.items()],
    )


def _start(settings: LimitsSettings, workers: int, rng: random.Random) -> dict[str, Counted]:
    """Start the server, and send requests to each subject in random order."""
    chosen = {"workers": workers, "default_limit": f"{RATE}/second"}
    with running(range(1), application="limits", cores=Cores.together(), settings=chosen) as server:
        secret = secret_of(0, read_derivation_key(server.settings.derivation_keys_file))
        port = int(server.address.rpartition(":")[2])
        found = {}
        for subject in rng.sample(SUBJECTS, len(SUBJECTS)):
            request = (
                f"GET {PATHS[subject]} HTTP/1.1\r\nHost: latchkey\r\n"
                f"Authorization: Bearer {secret}\r\n\r\n"
            ).encode()
            admitted, refused, elapsed = send_for(
                settings.seconds, port, request, settings.users, workers
            )
            found[subject] = Counted(
                admitted=admitted,
                refused=refused,
                elapsed=elapsed,
                bound=RATE + int(elapsed * RATE),
            )
        return found


def _cell(subject: str, workers: int, counted: list[Counted]) -> Cell:
    shares = Bootstrap([{subject: [one.admitted / one.bound]} for one in counted])
    return Cell(
        subject=subject,
        workers=workers,
        counted=counted,
        share=shares.estimate(lambda one: one[subject], subject),
    )
