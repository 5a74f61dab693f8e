"""The benchmark of several boxes, in one short round: real PostgreSQL, processes and services."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.boxes import plan
from benchmarks.boxes.plan import HIT, HIT_SQLITE, MISS, SELECT
from benchmarks.boxes.results import BoxesResults
from benchmarks.suite import boxes_part

# Its services load everything anew, which a machine with other load takes minutes for.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SHORTEST = replace(plan.QUICK, credentials=100, hot=8, rounds=2, calls=10, revocations=6, cut_off=1)


def test_everything_is_measured(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    boxes_part(SHORTEST).run(
        True, tmp_path, lambda done, expected, _: seen.append((done, expected))
    )
    done, expected = seen[-1]
    assert done == expected == len(seen) - 1
    results = BoxesResults.model_validate(json.loads((tmp_path / "boxes.json").read_text()))
    assert set(results.calls.estimates) == {SELECT, MISS, HIT, HIT_SQLITE}
    assert all(len(rounds) == 2 for rounds in results.calls.processes[0].values())
    assert len(results.healthy.taken) == 6
    assert len(results.cut_off.taken) == 1
    assert results.healthy.late == results.cut_off.late == 0
    # A box that is cut off must have been waited for.
    assert results.cut_off.longest > 100
