"""The requests that clients record, and the sum of several recordings.

Each client process writes one file: for each kind of request, the seconds in which requests ended,
and their latencies.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Seconds = dict[int, "array[float]"]
"""Latencies in microseconds, by the second of the monotonic clock in which they ended."""


@dataclass
class Recording:
    """The requests of one or several clients."""

    latencies: dict[str, Seconds] = field(default_factory=dict)
    """By kind of request, only expected answers."""
    errors: dict[str, int] = field(default_factory=dict)
    """Unexpected answers, and requests without an answer, by description."""
    violations: int = 0
    """Requests sent after a revocation was answered, but still answered with 200."""
    revocations: int = 0
    cpu_seconds: float = 0.0
    """CPU seconds of the clients while they sent requests."""

    @property
    def requests(self) -> int:
        """All requests, including errors."""
        answered = sum(len(each) for kind in self.latencies.values() for each in kind.values())
        return answered + sum(self.errors.values())

    def add_error(self, what: str) -> None:
        """Count an unexpected answer."""
        self.errors[what] = self.errors.get(what, 0) + 1

    def without_edges(self, warm: int) -> Recording:
        """The recording of complete seconds only, without the first `warm` of them."""
        every = sorted({second for kind in self.latencies.values() for second in kind})
        kept = set(every[max(warm, 1) : -1])
        latencies = {
            name: {second: each for second, each in kind.items() if second in kept}
            for name, kind in self.latencies.items()
        }
        return Recording(latencies, self.errors, self.violations, self.revocations)

    @property
    def seconds(self) -> list[int]:
        """Every second with an answer, in order."""
        return sorted({second for kind in self.latencies.values() for second in kind})


class Recorder:
    """Records the requests of one client process."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.count = 0
        self.began = 0.0
        self._cpu = time.process_time()

    def start(self) -> None:
        """Discard everything recorded so far; the clients start now."""
        self.recording = Recording()
        self.count = 0
        self._cpu = time.process_time()

    def note(self, kind: str, milliseconds: float, error: str | None) -> None:
        """Record a request and its latency; with `error` if the answer was not expected."""
        self.count += 1
        if self.count == 1:
            self.began = time.monotonic()
        if error is not None:
            self.recording.add_error(error)
            return
        seconds = self.recording.latencies.setdefault(kind, {})
        second = int(time.monotonic())
        found = seconds.get(second)
        if found is None:
            found = seconds[second] = array("d")
        found.append(milliseconds * 1000)

    def write(self, directory: Path) -> None:
        """Write the recording since the start to a file of this process."""
        noted = self.recording
        noted.cpu_seconds = time.process_time() - self._cpu
        latencies = {
            name: {second: [round(each, 1) for each in found] for second, found in kind.items()}
            for name, kind in noted.latencies.items()
        }
        draft = directory / f"{os.getpid()}.unfinished"
        draft.write_text(json.dumps(vars(noted) | {"latencies": latencies}))
        draft.replace(draft.with_suffix(".json"))


def read_all(directory: Path) -> tuple[Recording, int]:
    """The sum of the recordings in a directory, and their number."""
    paths = sorted(directory.glob("*.json"))
    return merge(_read(path) for path in paths), len(paths)


def merge(recordings: Iterable[Recording]) -> Recording:
    """The sum of several recordings."""
    whole = Recording()
    for one in recordings:
        for name, kind in one.latencies.items():
            seconds = whole.latencies.setdefault(name, {})
            for second, found in kind.items():
                seconds.setdefault(second, array("d")).extend(found)
        for error, count in one.errors.items():
            whole.errors[error] = whole.errors.get(error, 0) + count
        whole.violations += one.violations
        whole.revocations += one.revocations
        whole.cpu_seconds += one.cpu_seconds
    return whole


def _read(path: Path) -> Recording:
    fields = json.loads(path.read_text())
    latencies = {
        name: {int(second): array("d", found) for second, found in kind.items()}
        for name, kind in fields.pop("latencies").items()
    }
    return Recording(latencies, **fields)
