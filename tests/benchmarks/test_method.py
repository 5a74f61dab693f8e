"""What the figures depend on: keys, draws, plans, medians and verdicts."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.bootstrap import Bootstrap, Estimate
from benchmarks.micro import goals, plan
from benchmarks.micro.cases import HOT_KEYS, Case, MicroJob
from benchmarks.micro.keys import KEY_LENGTH, Draws, make_key
from benchmarks.micro.peers import FLOOR, LOCKED, OURS, OURS_SHARDED, PEERS
from benchmarks.micro.results import MicroResults
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED
from latchkey.credentials.tokens import lookup_key, new_api_key


def test_keys_are_like_lookup_keys_equal_but_not_identical() -> None:
    keys = [make_key(index) for index in range(10_000)]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {KEY_LENGTH, len(lookup_key(new_api_key("live")))}
    assert keys[7] == make_key(7)
    assert keys[7] is not make_key(7)


def test_draws_follow_their_case() -> None:
    rng = random.Random(1)
    zipf = Counter(Draws(Case("get", 1_000), rng, 50_000).take(50_000))
    assert max(zipf) < 1_000
    commonest = [count for _, count in zipf.most_common()]
    assert commonest[0] == pytest.approx(2 * commonest[1], rel=0.2)
    hot = Counter(Draws(Case("get", 1_000, "hot"), rng, 50_000).take(50_000))
    assert len(hot) == HOT_KEYS
    half = Draws(Case("get", 1_000, hit_percent=50), rng, 50_000).take(50_000)
    assert sum(index < 1_000 for index in half) == pytest.approx(25_000, rel=0.05)
    none = Draws(Case("get", 1_000, hit_percent=0), rng, 1_000).take(1_000)
    assert min(none) >= 1_000


def test_a_job_can_be_serialised() -> None:
    for job in plan.jobs(plan.FULL, random.Random(1), free_threaded=True):
        assert MicroJob.from_dict(job.to_dict()) == job


def test_the_full_plan_follows_the_protocol() -> None:
    counts = Counter(
        (job.interpreter, job.cases, job.peers)
        for job in plan.jobs(plan.FULL, random.Random(1), free_threaded=True)
    )
    for (_, cases, _), count in counts.items():
        if cases[0].scenario != "memory" or cases == (goals.MEMORY,):
            # Sizes that are in no goal show where a curve bends.
            assert count >= (5 if cases[0].entries == plan.MAIN_ENTRIES else 2)
    asked = {case for _, cases, _ in counts for case in cases}
    assert {goals.ZIPF, goals.HOT, goals.EVICTING, goals.MEMORY, goals.TWO_THREADS} <= asked


def test_without_the_gil_a_peer_has_its_own_process() -> None:
    for job in plan.jobs(plan.FULL, random.Random(1), free_threaded=True):
        if job.interpreter == "free-threaded":
            assert len(job.peers) == 1 or set(job.peers) == {FLOOR, OURS, OURS_SHARDED}


def test_large_sizes_are_distributed_over_processes_by_memory() -> None:
    huge = replace(plan.FULL, sizes=((10_000_000, 1),))
    entry_bytes = dict.fromkeys(PEERS, 100.0)
    roomy, left_out = plan.large_jobs(huge, random.Random(1), entry_bytes, 64 << 30)
    assert left_out == {10_000_000: []}
    assert len(roomy) == 1
    tight, left_out = plan.large_jobs(huge, random.Random(1), entry_bytes, 15 << 30)
    assert left_out == {10_000_000: []}
    assert len(tight) > len(roomy)
    for job in tight:
        assert {FLOOR, OURS} <= set(job.peers)
    assert {name for job in tight for name in job.peers} == set(PEERS) - {LOCKED, OURS_SHARDED}
    heavy = {**entry_bytes, "theine": 10_000.0}
    _, left_out = plan.large_jobs(huge, random.Random(1), heavy, 15 << 30)
    assert left_out == {10_000_000: ["theine"]}


def test_an_estimate_is_the_median_of_the_processes_medians() -> None:
    processes = [{"a": [10.0, 12.0, 900.0]}, {"a": [20.0, 20.0, 20.0]}, {"a": [30.0, 31.0, 1.0]}]
    found = Bootstrap(processes, 200).estimate(lambda medians: medians["a"], "a")
    assert found is not None
    assert found.value == 20.0
    assert 10.0 <= found.low <= 20.0 <= found.high <= 900.0
    again = Bootstrap(processes, 200).estimate(lambda medians: medians["a"], "a")
    assert again == found


def test_ratios_use_figures_from_the_same_rounds() -> None:
    rng = random.Random(1)
    drift = [[rng.uniform(50, 500) for _ in range(20)] for _ in range(5)]
    processes = [{"a": each, "b": [2 * figure for figure in each]} for each in drift]
    found = Bootstrap(processes, 200).estimate(lambda each: each["b"] / each["a"], "a", "b")
    assert found == Estimate(value=2.0, low=2.0, high=2.0)
    assert Bootstrap(processes, 10).estimate(lambda each: each["c"], "c") is None


@pytest.mark.parametrize(
    ("low", "value", "high", "state"),
    [
        (21, 25, 30, MET),
        (19, 25, 30, UNPROVED),
        (15, 19, 30, MISSED),
    ],
)
def test_a_goal_is_met_by_the_whole_interval(
    results: MicroResults, low: float, value: float, high: float, state: str
) -> None:
    cell = results.cell(goals.HOT)
    assert cell is not None
    cell.over_ours[LOCKED] = Estimate(value=value, low=low, high=high)
    cell.gross_over_ours[LOCKED] = Estimate(value=99, low=99, high=99)
    assert goals.verdicts(results)[3].state == state
    # The same must hold with the empty loop included.
    cell.gross_over_ours[LOCKED] = Estimate(value=5, low=5, high=5)
    assert goals.verdicts(results)[3].state == MISSED


def test_a_peer_that_is_missing_is_not_beaten(results: MicroResults) -> None:
    cell = results.cell(goals.ZIPF)
    assert cell is not None
    far = Estimate(value=9, low=8, high=10)
    cell.over_ours = dict.fromkeys(goals.COMPETITORS, far)
    cell.gross_over_ours = dict(cell.over_ours)
    assert goals.verdicts(results)[0].state == MET
    del cell.over_ours["theine"]
    verdict = goals.verdicts(results)[0]
    assert verdict.state == UNPROVED
    assert "without theine" in verdict.measured


def test_threads_are_judged_only_without_the_gil(results: MicroResults) -> None:
    cell = results.cell(goals.TWO_THREADS, goals.FREE_THREADED)
    assert cell is not None
    cell.speed_up[OURS_SHARDED] = Estimate(value=1.9, low=1.85, high=1.95)
    python = results.interpreters[goals.FREE_THREADED]
    python.gil = True
    assert goals.verdicts(results)[-1].state == f"{UNMEASURED}: the GIL was on"
    python.gil = False
    assert goals.verdicts(results)[-1].state == MET
    cell.speed_up[OURS_SHARDED] = Estimate(value=1.7, low=1.6, high=1.75)
    assert goals.verdicts(results)[-1].state == MISSED
