"""The form of ``limits.json``: the measurements, and the figures computed from them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmarks.bootstrap import Estimate


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Counted(_Record):
    """The answers to one subject after one start."""

    admitted: int
    refused: int
    elapsed: float
    """Seconds from the first request to the last answer."""
    bound: int
    """The units that the limit allows in this time: ``burst + ⌊elapsed × rate⌋``."""


class Cell(_Record):
    """One subject with one number of workers."""

    subject: str
    workers: int
    counted: list[Counted]
    """One for each start."""
    share: Estimate | None
    """The admitted requests relative to the bound."""


class LimitsResults(_Record):
    """The results of the part."""

    version: int = 1
    flask_limiter: str
    """The version of Flask-Limiter."""
    rate: int
    """Units per second, and at once."""
    seconds: float
    users: int
    cells: list[Cell]

    def cell(self, subject: str, workers: int) -> Cell | None:
        """The figures of a subject with this number of workers."""
        for cell in self.cells:
            if (cell.subject, cell.workers) == (subject, workers):
                return cell
        return None
