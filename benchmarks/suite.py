"""Every part of the benchmarks, in the order in which they run."""

from __future__ import annotations

from benchmarks.parts import Part

PARTS: tuple[Part, ...] = ()
"""Each whole."""
