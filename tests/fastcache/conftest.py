"""Fixtures for the tests of fastcache: cache classes, segment paths and descriptor checks."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fastcache.cache_kinds import FAST_KINDS, Kind


@pytest.fixture(params=FAST_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A cache class of fastcache. Modules that compare with cachetools override this."""
    found: Kind = request.param
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path at which no segment exists yet."""
    return tmp_path / "segment"


@pytest.fixture
def no_descriptor_stays_open() -> Iterator[None]:
    """Check that a test closes every descriptor that it opens, also when it fails."""
    before = os.listdir("/proc/self/fd")
    yield
    # Without the GIL, objects that several threads used may be released later.
    gc.collect()
    assert os.listdir("/proc/self/fd") == before
