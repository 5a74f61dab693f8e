"""What a client notes of each request, and what several of them noted together.

A client process writes one file: for each kind of request the seconds in which it was sent, and
the latencies in them.
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
"""Latencies in microseconds by the second of the system's monotonic clock in which they ended."""


@dataclass
class Recording:
    """What one or several clients have seen."""

    latencies: dict[str, Seconds] = field(default_factory=dict)
    """By kind of request; answers as they were expected, and nothing else."""
    errors: dict[str, int] = field(default_factory=dict)
    """Answers that were not expected, and requests without one, by what it was."""
    violations: int = 0
    """Requests begun after a revocation had been answered, and answered 200 all the same."""
    revocations: int = 0
    cpu_seconds: float = 0.0
    """CPU that the clients used while they sent requests."""

    @property
    def requests(self) -> int:
        """All requests, errors included."""
        answered = sum(len(each) for kind in self.latencies.values() for each in kind.values())
        return answered + sum(self.errors.values())

    def add_error(self, what: str) -> None:
        """Count what was not expected."""
        self.errors[what] = self.errors.get(what, 0) + 1

    def without_edges(self, warm: int) -> Recording:
        """Only the full seconds after the first `warm` of them, for what is computed from these."""
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
    """Notes requests in one client process."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.count = 0
        self.began = 0.0
        self._cpu = time.process_time()

    def start(self) -> None:
        """Forget what was before; the clients begin now."""
        self.recording = Recording()
        self.count = 0
        self._cpu = time.process_time()

    def note(self, kind: str, milliseconds: float, error: str | None) -> None:
        """One request and its latency; `error` where the answer was not expected."""
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
        """Write what was noted since the start into a file of this process's own."""
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
    """What all clients wrote into a directory, as one, and how many they were."""
    paths = sorted(directory.glob("*.json"))
    return merge(_read(path) for path in paths), len(paths)


def merge(recordings: Iterable[Recording]) -> Recording:
    """Several clients' recordings as one."""
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
