"""The measurement of limits over several workers, as briefly as possible."""

from __future__ import annotations

import pytest

from benchmarks.limits import driver, goals
from benchmarks.limits.plan import SUBJECTS, LimitsSettings
from benchmarks.parts import MISSED
from benchmarks.suite import limits_part

pytestmark = pytest.mark.integration


def test_every_subject_admits_and_refuses() -> None:
    settings = LimitsSettings(workers=(2,), starts=1, seconds=1.0, users=8)
    results = driver.run(settings, lambda done, total, step: None)
    assert {cell.subject for cell in results.cells} == set(SUBJECTS)
    for cell in results.cells:
        assert cell.counted[0].admitted > 0
        assert cell.counted[0].refused > 0
    assert all(verdict.state != MISSED for verdict in goals.verdicts(results)[:1])
    for table in limits_part().tables(results.model_dump(mode="json")).values():
        assert table.rows
