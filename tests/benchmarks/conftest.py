"""One short run, shared by all tests of its results."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchmarks.micro import driver, plan
from benchmarks.micro.results import MicroResults
from tests.support.benchmarks.rounds import ALWAYS, SHORTEST, measure


@pytest.fixture(scope="session")
def measured() -> MicroResults:
    """A run of every part, in processes, with the peers that are always installed.

    The same interpreter replaces a free-threaded one. Memory is too small for ten million entries.
    Results for a hundredth of the main size are used as those for the main size.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "available_bytes", lambda: 1 << 20)
        settings = replace(SHORTEST, peers=ALWAYS)
        results = measure(settings, **{"free-threaded": sys.executable})
    for cell in results.cells:
        if cell.case.entries == settings.main_entries:
            cell.case = replace(cell.case, entries=plan.MAIN_ENTRIES)
    return results


@pytest.fixture
def results(measured: MicroResults) -> MicroResults:
    """A copy of that run that a test may change."""
    return measured.model_copy(deep=True)
