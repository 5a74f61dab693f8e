"""Describes the machine with pyperf, without its name, its user or its paths."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pyperf

from benchmarks.machine import Machine

# Omitted keys would identify the machine or the user: hostname, python_executable, and others.
_DETAILS = (
    "aslr",
    "cpu_affinity",
    "cpu_config",
    "cpu_freq",
    "load_avg_1min",
    "timer",
)


def describe_machine() -> Machine:
    """Read it from pyperf, /proc and /sys."""
    metadata: dict[str, Any] = pyperf.Run([1.0]).get_metadata()
    information = Path("/proc/cpuinfo").read_text()
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", information, re.MULTILINE)
    return Machine(
        cpu=str(metadata.get("cpu_model_name", os.uname().machine)),
        cores=len(os.sched_getaffinity(0)),
        caches=_caches(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        virtual=flags is not None and "hypervisor" in flags[1].split(),
        system=str(metadata["platform"]),
        details={name: str(metadata[name]) for name in _DETAILS if name in metadata},
    )


def _caches() -> dict[str, str]:
    """The first core's caches, as ``{"L1d": "32K"}``; empty if the system does not list them."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get((index / "type").read_text().strip(), "")
        level = (index / "level").read_text().strip()
        found[f"L{level}{kind}"] = (index / "size").read_text().strip()
    return found
