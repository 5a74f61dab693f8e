"""Scaling, in one short round: real databases, processes, gunicorn and Locust."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from benchmarks.bootstrap import Estimate
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED
from benchmarks.scale import goals, plan
from benchmarks.scale.results import ScaleResults
from benchmarks.scale.slope import slope
from benchmarks.suite import scale_part
from tests.support.benchmarks.pages import require_whole_page

pytestmark = pytest.mark.integration

SHORTEST = replace(
    plan.QUICK,
    # The second size exceeds the smallest shared cache, the third the initial room for use
    # counts.
    credentials=(100, 7_500, 17_000),
    processes=1,
    rounds=2,
    calls=10,
    workers=(2,),
    seconds=1,
    soak_seconds=3,
    soak_fresh=100,
    requests=200,
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> ScaleResults:
    into = tmp_path_factory.mktemp("run")
    seen: list[tuple[int, int]] = []
    scale_part(settings=SHORTEST).run(
        True, into, lambda done, expected, _: seen.append((done, expected))
    )
    done, expected = seen[-1]
    assert done == expected == len(seen) - 1
    return ScaleResults.model_validate(json.loads((into / "scale.json").read_text()))


def test_each_miss_is_one_select(measured: ScaleResults) -> None:
    assert measured.misses.selects == dict.fromkeys(("100", "7500", "17000"), 1.0)
    assert measured.misses.presented == {"100": 100, "7500": 7_500, "17000": 17_000}
    assert all(len(rounds) == 2 for rounds in measured.misses.processes[0].values())


def test_a_full_shared_cache_evicts_and_causes_selects(
    measured: ScaleResults,
) -> None:
    rooms = {room.name: room for room in measured.shared.rooms}
    assert (rooms["roomy"].hits, rooms["roomy"].evictions) == (1.0, 0.0)
    assert (rooms["none"].hits, rooms["none"].selects) == (0.0, 1.0)
    assert rooms["full"].evictions > 0
    assert rooms["full"].hits + rooms["full"].selects == pytest.approx(1)


def test_memory_is_measured_by_credentials(measured: ScaleResults) -> None:
    few, _, many = measured.memory
    # The bytes of a credential and its entries in two indexes.
    assert many.database - few.database > 150 * (many.credentials - few.credentials)
    assert many.segment > few.segment
    assert min(each.private for each in measured.memory) > 1 << 20


def test_services_answer_and_are_measured(measured: ScaleResults) -> None:
    for run in (*measured.grid, measured.soak.load):
        assert run.requests > 0
        assert not run.errors
    soak = measured.soak
    assert soak.load.revocations > 0
    assert soak.load.violations == 0
    columns = (soak.times, soak.private, soak.resident, soak.segment, soak.descriptors)
    assert len({len(each) for each in columns}) == 1
    assert all(0 < own < all_ for own, all_ in zip(soak.private, soak.resident, strict=True))


def test_goals_tables_and_page_are_generated(measured: ScaleResults) -> None:
    part = scale_part()
    fields = measured.model_dump(mode="json")
    assert part.goals(fields)[0].state == UNMEASURED
    require_whole_page(part, fields)


@pytest.mark.parametrize(
    ("ratio", "state"),
    [((1.2, 1.1, 1.25), MET), ((1.2, 1.1, 1.4), UNPROVED), ((1.5, 1.4, 1.6), MISSED)],
)
def test_a_miss_among_many_is_judged_by_its_interval(
    measured: ScaleResults, ratio: tuple[float, float, float], state: str
) -> None:
    value, low, high = ratio
    results = measured.model_copy(deep=True)
    results.misses.over_smallest["1000000"] = Estimate(value=value, low=low, high=high)
    assert goals.verdicts(results)[0].state == state


def test_growth_has_a_slope(measured: ScaleResults) -> None:
    rng = random.Random(1)
    flat = [(float(second), 1e6 + rng.uniform(-500, 500)) for second in range(120)]
    grown = [(when, held + 100 * when) for when, held in flat]
    level, rising = slope(flat), slope(grown)
    assert level is not None
    assert rising is not None
    assert level.low < 0 < level.high
    assert rising.low < 100 < rising.high
    assert rising.low > 50
    assert slope(flat[:20]) is None
    results = measured.model_copy(deep=True)
    results.soak.growth = rising
    assert goals.verdicts(results)[1].state == MISSED
    results.soak.growth = Estimate(value=0.1, low=-0.2, high=0.4)
    assert goals.verdicts(results)[1].state == MET


@pytest.mark.parametrize(("last", "state"), [(40, MET), (41, MISSED)])
def test_the_number_of_descriptors_must_not_grow(
    measured: ScaleResults, last: int, state: str
) -> None:
    results = measured.model_copy(deep=True)
    soak = results.soak
    soak.warm = 2
    soak.times = [float(second) for second in range(30)]
    soak.descriptors = [99, *[40] * 24, last, *[40] * 4]
    soak.segment = [1] * 30
    assert goals.verdicts(results)[2].state == state
