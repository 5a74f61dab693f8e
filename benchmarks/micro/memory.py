"""Measures the memory that a cache adds to a process that already has the keys and values."""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path

from benchmarks.micro.cases import MicroJob
from benchmarks.micro.keys import make_key, make_value
from benchmarks.micro.peers import Found
from benchmarks.micro.timing import fill

WARM_ENTRIES = 1_000


def anonymous_bytes() -> int:
    """The anonymous resident memory of this process, in bytes, after a clean-up.

    First, garbage is collected and free memory is returned. The kernel's sum over the mappings is
    exact; its running counter is updated only in batches.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    found = re.search(r"^Anonymous: +(\d+) kB$", Path("/proc/self/smaps_rollup").read_text(), re.M)
    if found is None:
        raise RuntimeError("/proc/self/smaps_rollup has no line 'Anonymous'")
    return int(found[1]) * 1024


def measure(job: MicroJob, found: Found) -> dict[str, list[float]]:
    """Bytes per entry in addition to its key and value: one figure for the job's single peer."""
    (case,), (name,) = job.cases, job.peers
    if name in found.missing:
        return {}
    # Warm-up: a library's one-time allocations happen here and do not count.
    fill(found.make(name, WARM_ENTRIES), WARM_ENTRIES)
    keys = [make_key(number) for number in range(case.entries)]
    values = [make_value(number) for number in range(case.entries)]
    before = anonymous_bytes()
    cache = found.make(name, case.entries)
    cache.set_each(keys, values)
    cache.settle()
    after = anonymous_bytes()
    return {name: [round((after - before) / case.entries, 3)]}
