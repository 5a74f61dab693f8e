"""The presentation of measurements of several boxes; tests/integration measures."""

from __future__ import annotations

import pytest

from benchmarks.bootstrap import Estimate
from benchmarks.boxes import goals
from benchmarks.boxes.driver import quantile
from benchmarks.boxes.plan import HIT, HIT_SQLITE, MISS, SELECT
from benchmarks.boxes.results import BoxesResults, Calls, Revocations
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED
from benchmarks.suite import boxes_part
from tests.support.benchmarks.pages import require_whole_page


def around(value: float, width: float = 0.1) -> Estimate:
    return Estimate(value=value, low=value - width, high=value + width)


def revocations(*taken: float, late: int = 0) -> Revocations:
    return Revocations(
        taken=list(taken),
        p50=quantile(taken, 0.5),
        p99=quantile(taken, 0.99),
        longest=max(taken, default=0.0),
        late=late,
    )


@pytest.fixture
def results() -> BoxesResults:
    """A run that meets every goal."""
    names = (SELECT, MISS, HIT_SQLITE, HIT)
    return BoxesResults(
        server="15.9",
        boxes=3,
        workers=2,
        lease=5.0,
        calls=Calls(
            processes=[{name: [1.0, 2.0] for name in names}],
            estimates={name: around(1.5) for name in names},
            over_select=around(1.1),
            added_to_hit=around(1.0),
        ),
        healthy=revocations(*[5.0] * 500, *[9.0] * 500),
        cut_off=revocations(4_100.0, 5_100.0),
    )


def test_every_goal_can_be_met(results: BoxesResults) -> None:
    assert [verdict.state for verdict in goals.verdicts(results)] == [MET] * 6


def test_each_goal_can_be_missed(results: BoxesResults) -> None:
    results.calls.over_select = around(1.4)
    results.calls.added_to_hit = around(5.0)
    results.healthy = revocations(*[20.0] * 500, *[300.0] * 500, late=1)
    results.cut_off = revocations(5_300.0)
    states = [verdict.state for verdict in goals.verdicts(results)]
    assert states == [MISSED, UNPROVED, MISSED, MISSED, MISSED, MISSED]


def test_what_was_not_measured_proves_nothing(results: BoxesResults) -> None:
    results.cut_off = revocations()
    results.healthy = revocations(5.0, 6.0)
    states = [verdict.state for verdict in goals.verdicts(results)]
    assert states == [MET, MET, MET, UNMEASURED, UNMEASURED, MET]


def test_goals_tables_and_page_are_generated(results: BoxesResults) -> None:
    part, fields = boxes_part(), results.model_dump(mode="json")
    require_whole_page(part, fields)
    assert part.optional


def test_a_quantile_needs_enough_figures() -> None:
    assert quantile([1.0], 0.5) is None
    found = quantile([float(number) for number in range(1, 101)], 0.99)
    assert found is not None
    assert found.low < found.value == found.high == 100.0
