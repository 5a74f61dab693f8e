"""The program of one measuring process: reads a job from standard input, writes its figures.

It times single checks through the middleware, in random order: misses with databases of different
sizes, and lookups in shared caches with and without enough room. Or it measures the memory of a
worker and its shared memory, with one database.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from time import perf_counter_ns
from typing import Any, Literal

from benchmarks.load.credentials import read_derivation_key, secret_of
from benchmarks.load.processes import held
from benchmarks.scale.plan import real_every
from fastcache.shared import Segment
from latchkey import wsgi
from latchkey.box.counter_names import Count
from latchkey.box.shared import SMALLEST, SharedState
from latchkey.check.authenticator import Authenticator
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.kinds import Sources
from latchkey.store.database_urls import database_at
from latchkey.store.sqlite.location import database_url

ROOMY = 32 << 20
"""Bytes of a segment with room for every presented credential; the default setting."""

_ANSWER: list[bytes] = []
_Subjects = dict[str, "_Subject"]


@dataclass(frozen=True)
class ScaleJob:
    """The measurements and their databases, which all have the same derivation key."""

    kind: Literal["misses", "shared", "memory"]
    databases: dict[str, int]
    """Paths and numbers of credentials; except for misses, only one."""
    key_file: str
    directory: str
    """A directory in memory, for segments."""
    rounds: int
    calls: int
    shared_turns: int
    seed: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ScaleJob:
        return cls(**json.loads(text))


class _Subject:
    """A middleware with a cache of one entry, over one database, with secrets in turn."""

    def __init__(
        self, job: ScaleJob, path: str, count: int, shared: SharedState, rng: random.Random
    ) -> None:
        self._maker = read_derivation_key(Path(job.key_file))
        self._numbers = list(range(0, count, real_every(count)))
        rng.shuffle(self._numbers)
        self._secrets = self._in_turn()
        self.store = database_at(database_url(Path(path))).open_store()
        self.shared = shared
        sources = Sources(DerivationKeys([self._maker], []), self.store.verifier)
        authenticator = Authenticator(sources, shared, cache_size=1)
        self._application = wsgi.middleware(_answer, authenticator)

    def _in_turn(self) -> Iterator[str]:
        """Each secret of this database in turn, endlessly; two successive ones always differ."""
        while True:
            for number in self._numbers:
                yield secret_of(number, self._maker)

    @property
    def distinct(self) -> int:
        """The number of presented credentials."""
        return len(self._numbers)

    def call(self) -> int:
        """Time one check that admits a request, in nanoseconds."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/v1/account",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_AUTHORIZATION": f"Bearer {next(self._secrets)}",
        }
        start = perf_counter_ns()
        answer = self._application(environ, _start_response)
        taken = perf_counter_ns() - start
        if answer is not _ANSWER:
            raise RuntimeError("a valid credential was refused")
        return taken

    def count_of(self, count: Count) -> int:
        return self.shared.worker_metrics.totals().counts[count]

    @property
    def evictions(self) -> int:
        return 0 if self.shared.l2 is None else self.shared.l2.stats().evictions


def run(job: ScaleJob) -> dict[str, Any]:
    """Run the measurement of the job."""
    measure = {"misses": _misses, "shared": _shared, "memory": _memory}[job.kind]
    with ExitStack() as stack:
        return measure(job, stack)


def _misses(job: ScaleJob, stack: ExitStack) -> dict[str, Any]:
    """The median of each round, by the number of credentials."""
    rng = random.Random(job.seed)
    subjects = {
        str(count): _subject(job, path, count, SharedState.private(), rng, stack)
        for path, count in job.databases.items()
    }
    _round(subjects, job.calls, rng)
    before = {name: each.count_of(Count.STORE_SELECT) for name, each in subjects.items()}
    figures: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(job.rounds):
        for name, taken in _round(subjects, job.calls, rng).items():
            figures[name].append(round(median(taken) / 1000, 3))
    selects = {
        name: (each.count_of(Count.STORE_SELECT) - before[name]) / (job.rounds * job.calls)
        for name, each in subjects.items()
    }
    return {"figures": figures, "selects": selects}


def _shared(job: ScaleJob, stack: ExitStack) -> dict[str, Any]:
    """The mean of each round, because only some lookups need a SELECT, by the available room."""
    rng = random.Random(job.seed)
    ((path, count),) = job.databases.items()
    rooms = {
        "roomy": _state(job, "roomy", ROOMY, stack),
        "full": _state(job, "full", SMALLEST, stack),
        "none": SharedState.private(),
    }
    subjects = {
        name: _subject(job, path, count, shared, rng, stack) for name, shared in rooms.items()
    }
    for subject in subjects.values():
        for _ in range(job.shared_turns * subject.distinct):
            subject.call()
    before = {name: _counts(subject) for name, subject in subjects.items()}
    figures: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(job.rounds):
        for name, taken in _round(subjects, job.calls, rng).items():
            figures[name].append(round(fmean(taken) / 1000, 3))
    lookups = {
        name: {
            what: (after - before[name][what]) / (job.rounds * job.calls)
            for what, after in _counts(subject).items()
        }
        for name, subject in subjects.items()
    }
    return {"figures": figures, "lookups": lookups, "distinct": subjects["full"].distinct}


def _counts(subject: _Subject) -> dict[str, int]:
    return {
        "hits": subject.count_of(Count.SHARED_HIT),
        "selects": subject.count_of(Count.STORE_SELECT),
        "evictions": subject.evictions,
    }


def _memory(job: ScaleJob, stack: ExitStack) -> dict[str, Any]:
    """Bytes of the database file, of the segment, and of the process's own memory."""
    ((path, count),) = job.databases.items()
    shared = _state(job, "memory", ROOMY, stack)
    subject = _subject(job, path, count, shared, random.Random(job.seed), stack)
    for _ in range(subject.distinct):
        subject.call()
    assert shared.segment is not None
    return {
        "database": Path(path).stat().st_size,
        "segment": Path(shared.segment.path).stat().st_blocks * 512,
        "private": held(os.getpid()).private,
        "distinct": subject.distinct,
    }


def _round(subjects: _Subjects, calls: int, rng: random.Random) -> dict[str, list[int]]:
    """A number of calls of each subject, one by one in random order."""
    order = [name for name in subjects for _ in range(calls)]
    rng.shuffle(order)
    taken: dict[str, list[int]] = {name: [] for name in subjects}
    for name in order:
        taken[name].append(subjects[name].call())
    return taken


def _subject(
    job: ScaleJob, path: str, count: int, shared: SharedState, rng: random.Random, stack: ExitStack
) -> _Subject:
    subject = _Subject(job, path, count, shared, rng)
    stack.callback(subject.store.close)
    return subject


def _state(job: ScaleJob, name: str, size: int, stack: ExitStack) -> SharedState:
    path = Path(job.directory) / f"latchkey-scale-{os.getpid()}-{name}"
    segment = Segment.create(path, SharedState.regions(size), prepare=SharedState.prepare)
    stack.callback(path.unlink, missing_ok=True)
    stack.callback(segment.close)
    return SharedState.over(segment)


def _answer(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return _ANSWER


def _start_response(
    status: str, headers: Any, exc_info: Any = None, /
) -> Callable[[bytes], object]:
    return _write


def _write(data: bytes) -> None:
    pass


if __name__ == "__main__":
    json.dump(run(ScaleJob.from_json(sys.stdin.read())), sys.stdout)
