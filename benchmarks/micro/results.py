"""The form of ``cache.json``: everything that was measured, and what was computed from it.

Tables, plots and the documentation are made from this alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate
from benchmarks.machine import Machine, Source
from benchmarks.micro.cases import Case

FILE_NAME = "cache.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Interpreter(_Record):
    """A Python that measured, and the packages that it found."""

    implementation: str
    version: str
    compiler: str
    gil: bool
    """Whether the GIL was on in a process that imported only ``dict`` and ours."""
    packages: dict[str, str]
    """Version of each distribution that was measured."""
    missing: dict[str, str]
    """Peers that could not be imported, and the error."""
    gil_turned_on_by: list[str]
    """Peers in whose processes the GIL was on, though it is off otherwise."""


class Cell(_Record):
    """One case, as all processes measured it."""

    case: Case
    interpreter: str
    unit: Literal["ns/call", "B/entry"]
    processes: list[dict[str, list[float]]]
    """Each process's figures by peer, one a round; times are as measured, with the empty loop."""
    kept: dict[str, float]
    """Share of the present keys that each peer found, the least of all processes."""
    left_out: list[str] = []
    """Peers for which memory was too small."""
    estimates: dict[str, Estimate] = {}
    """By peer, in `unit`; the empty loop is subtracted from ``get`` and ``set``."""
    over_floor: dict[str, Estimate] = {}
    """By peer: its time as a multiple of ``dict``'s."""
    over_ours: dict[str, Estimate] = {}
    """By peer: its time, or memory, as a multiple of fastcache's."""
    gross_over_floor: dict[str, Estimate] = {}
    """The same with the empty loop left in."""
    gross_over_ours: dict[str, Estimate] = {}
    speed_up: dict[str, Estimate] = {}
    """By peer: calls per second of these threads as a multiple of one thread's."""


class Results(_Record):
    """One run."""

    version: Literal[1] = 1
    started: str
    finished: str
    """UTC, to the second."""
    whole: bool
    """Whether everything was measured at the full figures. Otherwise nothing is proved."""
    source: Source
    machine: Machine
    settings: dict[str, Any]
    interpreters: dict[str, Interpreter]
    cells: list[Cell]

    def cell(self, case: Case, interpreter: str = "default") -> Cell | None:
        """The cell of a case, if it was measured."""
        for cell in self.cells:
            if cell.case == case and cell.interpreter == interpreter:
                return cell
        return None

    @property
    def name(self) -> str:
        """The name of the run's directory: date and commit."""
        return f"{self.started[:10]}-{self.source.commit}"


def write(results: Results, directory: Path) -> Path:
    """Write ``cache.json``, each list of figures on one line."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results.model_dump(mode="json"), indent=1)
    text = re.sub(r"\[[-\d.,\se]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    path = directory / FILE_NAME
    path.write_text(text + "\n")
    return path


def read(directory: Path) -> Results:
    """Read and check a directory's ``cache.json``."""
    return Results.model_validate_json((directory / FILE_NAME).read_text())


def latest_whole(directory: Path) -> Path | None:
    """The newest complete run below a directory of runs."""
    found = [path.parent for path in directory.glob(f"*/{FILE_NAME}")]
    whole = [(results.started, path) for path in found if (results := read(path)).whole]
    return max(whole)[1] if whole else None
