"""Where the tests of segments make them, and that none stays open."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The name of a segment that is not there yet."""
    return tmp_path / "segment"


@pytest.fixture
def no_descriptor_stays_open() -> Iterator[None]:
    """What a test opens is closed at its end, whatever came of it."""
    before = os.listdir("/proc/self/fd")
    yield
    # Without the GIL, what several threads had may be released later.
    gc.collect()
    assert os.listdir("/proc/self/fd") == before
