"""The form of ``cache.json``: everything that was measured, and what was computed from it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate
from benchmarks.micro.cases import Case


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


class MicroResults(_Record):
    """One measurement of the cache."""

    version: Literal[1] = 1
    settings: dict[str, Any]
    interpreters: dict[str, Interpreter]
    cells: list[Cell]

    def cell(self, case: Case, interpreter: str = "default") -> Cell | None:
        """The cell of a case, if it was measured."""
        for cell in self.cells:
            if cell.case == case and cell.interpreter == interpreter:
                return cell
        return None
