"""The form of ``cache.json``: all measurements, and the figures computed from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate
from benchmarks.micro.cases import Case


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Interpreter(_Record):
    """A Python interpreter that measured, and the packages in it."""

    implementation: str
    version: str
    compiler: str
    gil: bool
    """Whether the GIL was enabled in a process that imported only ``dict`` and fastcache."""
    packages: dict[str, str]
    """The version of each measured distribution."""
    missing: dict[str, str]
    """Peers that could not be imported, with the error."""
    gil_turned_on_by: list[str]
    """Peers in whose processes the GIL was enabled, although it is normally disabled."""


class Cell(_Record):
    """One case, as measured by all processes."""

    case: Case
    interpreter: str
    unit: Literal["ns/call", "B/entry"]
    processes: list[dict[str, list[float]]]
    """The figures of each process by peer, one per round; times include the empty loop."""
    kept: dict[str, float]
    """The share of the present keys that each peer found, as the minimum of all processes."""
    left_out: list[str] = []
    """Peers for which there was not enough memory."""
    estimates: dict[str, Estimate] = {}
    """By peer, in `unit`; the empty loop is subtracted from ``get`` and ``set``."""
    over_floor: dict[str, Estimate] = {}
    """By peer: its time as a multiple of that of ``dict``."""
    over_ours: dict[str, Estimate] = {}
    """By peer: its time or memory as a multiple of that of fastcache."""
    gross_over_floor: dict[str, Estimate] = {}
    """The same including the empty loop."""
    gross_over_ours: dict[str, Estimate] = {}
    speed_up: dict[str, Estimate] = {}
    """By peer: calls per second of these threads, as a multiple of one thread's."""


class MicroResults(_Record):
    """One measurement of the cache."""

    version: Literal[1] = 1
    settings: dict[str, Any]
    interpreters: dict[str, Interpreter]
    cells: list[Cell]

    def cell(self, case: Case, interpreter: str = "default") -> Cell | None:
        """The cell of a case; None if it was not measured."""
        for cell in self.cells:
            if cell.case == case and cell.interpreter == interpreter:
                return cell
        return None
