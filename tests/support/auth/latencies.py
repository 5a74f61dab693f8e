"""Latencies as tests read them."""

from __future__ import annotations

import mmap

from latchkey.box._latencies import LATENCY_SIZE, Latencies


def memory() -> memoryview:
    return memoryview(mmap.mmap(-1, LATENCY_SIZE))


def seen(latencies: Latencies) -> dict[tuple[str | None, int], int]:
    """The number of responses of each series."""
    counts = {name: sum(values[:-1]) for name, values in latencies.series().items()}
    return {name: count for name, count in counts.items() if count}
