"""The program of one measuring process: reads a job from standard input, writes its medians."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

from benchmarks.overhead.flask_peers import FlaskPeers
from benchmarks.overhead.ours import Ours, new_flask, new_ours
from benchmarks.overhead.plan import SERIES, OverheadJob
from benchmarks.overhead.results import BARE
from benchmarks.overhead.timing import Subject, time_calls


class Bench:
    """All subjects, created on first use."""

    def __init__(self, directory: Path, keys: int, rng: random.Random, stack: ExitStack) -> None:
        self._keys = keys
        self._rng = rng
        self._directory = directory
        self._stack = stack
        self.ours: Ours = stack.enter_context(new_ours(directory, keys, rng))

    def series(self, name: str) -> Mapping[str, Subject]:
        """The subjects of one of `SERIES`, of which one is called `BARE`."""
        made: dict[str, Callable[[], Mapping[str, Subject]]] = {
            "hits": self.ours.hits,
            "limits": self.ours.limits,
            "contended": self._contended,
            "ways": self.ours.ways,
            "metrics": self.ours.metrics,
            "asgi": self.ours.asgi,
            "verify": self.ours.verify,
            "flask": self.ours.flask,
            "peers": self._peers,
            "django": self._django,
        }
        return made[name]()

    def _contended(self) -> Mapping[str, Subject]:
        return self._stack.enter_context(self.ours.contended())

    def _peers(self) -> Mapping[str, Subject]:
        peers = self._stack.enter_context(closing(FlaskPeers(self._directory, self.ours.secrets)))
        bare = Subject(new_flask().wsgi_app, self.ours.bearer())
        return {BARE: bare, "Latchkey": self.ours.whole(), **peers.subjects(self.ours.bearer)}

    def _django(self) -> Mapping[str, Subject]:
        # It is slow to import, and counting instructions does not need it.
        from benchmarks.overhead.django_peer import DjangoPeer

        # Only a hundred keys: creating one is slow, and each is found by its indexed prefix.
        keys = min(self._keys, 100)
        peer = self._stack.enter_context(closing(DjangoPeer(self._directory, keys, self._rng)))
        return peer.subjects()


def run(job: OverheadJob) -> dict[str, dict[str, dict[str, float]]]:
    """The fields of each subject's `Timing`, by series."""
    rng = random.Random(job.seed)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(directory, job.keys, rng, stack)
        measured = {}
        for name in job.series:
            calls = max(1, job.calls // SERIES[name])
            # Every credential is used once before the measurement.
            warm = job.keys + calls // 10
            timed = time_calls(bench.series(name), BARE, calls, warm, rng)
            measured[name] = {subject: asdict(timing) for subject, timing in timed.items()}
        return measured


def main() -> None:
    """Read a job, measure, and write the medians as JSON."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        sys.exit("set PYTHONHASHSEED=0: otherwise keys hash differently in each process")
    json.dump(run(OverheadJob.from_json(sys.stdin.read())), sys.stdout)


if __name__ == "__main__":
    main()
