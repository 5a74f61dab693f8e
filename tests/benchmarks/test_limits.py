"""The presentation of limits over several workers; tests/integration measures."""

from __future__ import annotations

import pytest

from benchmarks.bootstrap import Estimate
from benchmarks.limits import goals
from benchmarks.limits.plan import LATCHKEY, SUBJECTS
from benchmarks.limits.results import Cell, Counted, LimitsResults
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED
from benchmarks.suite import limits_part
from tests.support.benchmarks.pages import require_whole_page


def around(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.004, high=value + 0.004)


@pytest.fixture
def results() -> LimitsResults:
    """A run that meets every goal."""
    counted = [Counted(admitted=1099, refused=5000, elapsed=10.0, bound=1100)]
    return LimitsResults(
        flask_limiter="4.1",
        rate=100,
        seconds=10.0,
        users=8,
        cells=[
            Cell(subject=subject, workers=workers, counted=counted, share=around(0.996))
            for subject in SUBJECTS
            for workers in (1, 4)
        ],
    )


@pytest.mark.parametrize(
    ("share", "state"),
    [(around(0.996), MET), (around(0.99), UNPROVED), (around(0.9), MISSED), (None, UNMEASURED)],
)
def test_the_goal_of_losing_almost_nothing(
    results: LimitsResults, share: Estimate | None, state: str
) -> None:
    cell = results.cell(LATCHKEY, 4)
    assert cell is not None
    cell.share = share
    assert [verdict.state for verdict in goals.verdicts(results)] == [MET, state]


def test_one_request_above_the_limit_misses_the_goal(results: LimitsResults) -> None:
    cell = results.cell(LATCHKEY, 1)
    assert cell is not None
    cell.counted = [cell.counted[0].model_copy(update={"admitted": 1101})]
    assert goals.verdicts(results)[0].state == MISSED


def test_goals_tables_and_page_are_generated(results: LimitsResults) -> None:
    part, fields = limits_part(), results.model_dump(mode="json")
    require_whole_page(part, fields)
    assert part.optional


def test_a_run_without_figures_has_a_page(results: LimitsResults) -> None:
    results.cells = []
    assert {verdict.state for verdict in goals.verdicts(results)} == {UNMEASURED}
    assert limits_part().words(results.model_dump(mode="json"))["ours_over"] == ""
