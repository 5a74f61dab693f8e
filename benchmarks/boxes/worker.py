"""The program of one measuring process: reads a job from standard input, writes its figures.

It times single calls in random order: a miss over PostgreSQL beside the same SELECT without
Latchkey, and hits over both databases.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path
from statistics import fmean
from time import perf_counter_ns
from typing import Any

import psycopg
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from benchmarks.boxes.plan import HIT, HIT_SQLITE, MISS, SELECT, CallsJob
from benchmarks.load.credentials import api_key_of, read_derivation_key, secret_of
from latchkey import wsgi
from latchkey.box.counter_names import Count
from latchkey.box.shared import SharedState
from latchkey.check.authenticator import Authenticator
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.kinds import Sources
from latchkey.store.database_urls import database_at
from latchkey.store.verifiers import FIND_VERIFIER

_HITS_PER_MISS = 10

Call = Callable[[], int]
"""One call, which returns the nanoseconds that it took."""


def run(job: CallsJob) -> dict[str, list[float]]:
    """The middle of each round in microseconds, by subject; raises RuntimeError for a refusal."""
    rng = random.Random(job.seed)
    with ExitStack() as stack:
        misses: dict[str, Call] = {
            SELECT: _selects(job, rng, stack),
            MISS: _checks(job, job.postgresql, job.credentials, 1, rng, stack, Count.STORE_SELECT),
        }
        hits: dict[str, Call] = {
            name: _checks(job, url, job.hot, job.hot, rng, stack, None)
            for name, url in ((HIT, job.postgresql), (HIT_SQLITE, job.sqlite))
        }
        figures: dict[str, list[float]] = {name: [] for name in (*misses, *hits)}
        for _ in range(2 * job.hot):
            for call in hits.values():
                call()
        _round(misses, job.calls, rng)
        for _ in range(job.rounds):
            taken = _round(misses, job.calls, rng)
            taken |= _round(hits, job.calls * _HITS_PER_MISS, rng)
            for name, durations in taken.items():
                figures[name].append(round(_middle(durations) / 1000, 4))
    return figures


def _middle(durations: list[int]) -> float:
    """The mean of the middle half: a median would have the steps of the clock, about 10 ns."""
    quarter = len(durations) // 4
    return fmean(sorted(durations)[quarter : len(durations) - quarter])


def _round(subjects: dict[str, Call], calls: int, rng: random.Random) -> dict[str, list[int]]:
    """A number of calls of each subject, one by one in random order."""
    order = [name for name in subjects for _ in range(calls)]
    rng.shuffle(order)
    taken: dict[str, list[int]] = {name: [] for name in subjects}
    for name in order:
        taken[name].append(subjects[name]())
    return taken


def _numbers(count: int, rng: random.Random) -> list[int]:
    numbers = list(range(count))
    rng.shuffle(numbers)
    return numbers


def _selects(job: CallsJob, rng: random.Random, stack: ExitStack) -> Call:
    """The statement of a miss, prepared on a connection that stays open."""
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    statement = str(FIND_VERIFIER.compile(dialect=dialect)).encode()
    address = job.postgresql.replace("+psycopg", "")
    connection = stack.enter_context(closing(psycopg.connect(address, autocommit=True)))
    # Every call has a new string, as a check has.
    keys = cycle([api_key_of(number) for number in _numbers(job.credentials, rng)])

    def call() -> int:
        values = {"api_key": next(keys)}
        start = perf_counter_ns()
        rows = connection.execute(statement, values, prepare=True, binary=True).fetchall()
        taken = perf_counter_ns() - start
        if len(rows) != 1:
            raise RuntimeError("a credential is missing")
        return taken

    return call


def _checks(
    job: CallsJob,
    url: str,
    count: int,
    cache_size: int,
    rng: random.Random,
    stack: ExitStack,
    counted: Count | None,
) -> Call:
    """Checks of bearer tokens in turn, in front of an application that does nothing."""
    maker = read_derivation_key(Path(job.key_file))
    store = stack.enter_context(closing(database_at(url).open_store()))
    shared = SharedState.private()
    sources = Sources(DerivationKeys([maker], []), store.verifier)
    answer: list[bytes] = []
    application = wsgi.middleware(
        lambda environ, start_response: answer,
        Authenticator(sources, shared, cache_size=cache_size),
    )
    secrets = cycle([secret_of(number, maker) for number in _numbers(count, rng)])

    def call() -> int:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/v1/account",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_AUTHORIZATION": f"Bearer {next(secrets)}",
        }
        start = perf_counter_ns()
        answered = application(environ, _start_response)
        taken = perf_counter_ns() - start
        if answered is not answer:
            raise RuntimeError("a valid credential was refused")
        return taken

    if counted is not None:
        before = shared.worker_metrics.totals().counts[counted]
        for _ in range(10):
            call()
        if shared.worker_metrics.totals().counts[counted] - before != 10:
            raise RuntimeError("a miss is not one SELECT")
    return call


def _start_response(
    status: str, headers: Any, exc_info: Any = None, /
) -> Callable[[bytes], object]:
    return lambda data: None


if __name__ == "__main__":
    json.dump(run(CallsJob.from_json(sys.stdin.read())), sys.stdout)
