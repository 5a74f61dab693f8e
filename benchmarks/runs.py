"""``run.json``: the machine and the source of a run, and the result of each part."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.machine import Machine, Source
from benchmarks.parts import Measured, PartName, write_json

FILE_NAME = "run.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Ended(_Record):
    """How and when a part ended; UTC, to the second."""

    started: str
    finished: str
    whole: bool
    """Whether everything was measured in full. Otherwise nothing is proved."""
    failure: str | None = None
    """The error that stopped it; then there are no figures."""


class Python(_Record):
    """The interpreter of the driver, and the packages installed in it."""

    implementation: str
    version: str
    compiler: str
    packages: dict[str, str]


class Run(_Record):
    """One run."""

    version: Literal[1] = 1
    started: str
    quick: bool
    source: Source
    machine: Machine
    python: Python
    parts: dict[PartName, Ended] = {}

    @property
    def name(self) -> str:
        """The name of the run's directory: date and commit."""
        return f"{self.started[:10]}-{self.source.commit}"

    def is_whole(self, names: tuple[PartName, ...]) -> bool:
        """Whether all of these parts were measured in full."""
        return all(
            (ended := self.parts.get(name)) is not None and ended.whole and ended.failure is None
            for name in names
        )

    @property
    def seconds(self) -> dict[PartName, float]:
        """The duration of each part that did not fail."""
        return {
            name: (
                datetime.fromisoformat(ended.finished) - datetime.fromisoformat(ended.started)
            ).total_seconds()
            for name, ended in self.parts.items()
            if ended.failure is None
        }

    def continues(self, earlier: Run) -> bool:
        """Whether its parts fit those of an earlier run: same source, machine and packages."""
        same = ("source", "quick", "python")
        return all(getattr(self, field) == getattr(earlier, field) for field in same) and (
            # These details change from minute to minute.
            self.machine.model_copy(update={"details": {}})
            == earlier.machine.model_copy(update={"details": {}})
        )

    def write(self, directory: Path) -> None:
        """Write ``run.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        write_json(self.model_dump(mode="json"), directory / FILE_NAME)


def new_run(source: Source, machine: Machine, *, quick: bool) -> Run:
    """A run that starts now, in this interpreter."""
    python = Python(
        implementation=platform.python_implementation(),
        version=platform.python_version(),
        compiler=platform.python_compiler(),
        packages=dict(_packages()),
    )
    return Run(started=now(), quick=quick, source=source, machine=machine, python=python)


@cache
def _packages() -> tuple[tuple[str, str], ...]:
    """The installed packages and their versions. Reading all of them takes a while."""
    found = {
        distribution.metadata["Name"]: distribution.version
        for distribution in importlib.metadata.distributions()
    }
    return tuple(sorted(found.items(), key=lambda item: item[0].lower()))


def read_run(directory: Path) -> Run:
    """Read and validate ``run.json`` of a directory."""
    return Run.model_validate_json((directory / FILE_NAME).read_text())


def read_part(directory: Path, name: PartName) -> Measured | None:
    """The figures of a part; ``None`` if it was not measured."""
    path = directory / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def latest_whole(directory: Path, names: tuple[PartName, ...]) -> Path | None:
    """The newest run in a directory of runs that has all of these parts in full."""
    found = [path.parent for path in directory.glob(f"*/{FILE_NAME}")]
    whole = [(run.started, path) for path in found if (run := read_run(path)).is_whole(names)]
    return max(whole)[1] if whole else None


def later_than(directory: Path) -> list[Path]:
    """The runs beside a run that began after it, in their order."""
    began = read_run(directory).started
    found = [path.parent for path in directory.parent.glob(f"*/{FILE_NAME}")]
    later = [(run.started, path) for path in found if (run := read_run(path)).started > began]
    return [path for _, path in sorted(later)]


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
