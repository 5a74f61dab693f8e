"""Every part of the benchmarks, in the order in which the page shows them and they run."""

from __future__ import annotations

from benchmarks.load.part import LoadPart
from benchmarks.micro.part import CachePart
from benchmarks.overhead.part import OverheadPart
from benchmarks.parts import Part
from benchmarks.scale.part import ScalePart

PARTS: tuple[Part, ...] = (OverheadPart(), LoadPart(), ScalePart(), CachePart())
"""Each with all that it can measure."""
