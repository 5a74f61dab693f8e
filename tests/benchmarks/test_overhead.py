"""The overhead of single calls: every subject runs, and the results are shown."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest

from benchmarks.overhead import goals, instructions
from benchmarks.overhead.plan import SERIES, OverheadJob, OverheadSettings
from benchmarks.overhead.results import AGAIN, BARE, YARDSTICK, Instructions, OverheadResults
from benchmarks.overhead.timing import Environ, Subject, Timing, WrongWay, compare, time_calls
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED, format_figure
from benchmarks.processes import run as run_process
from benchmarks.suite import overhead_part
from fastcache.shared import KeyedDigest


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> OverheadResults:
    """The shortest run of every series, in a process, without counting instructions."""
    directory = tmp_path_factory.mktemp("overhead")
    steps: list[tuple[int, int]] = []
    part = overhead_part(settings=OverheadSettings(processes=1, calls=20, keys=10, counted_calls=0))
    part.run(False, directory, lambda done, expected, what: steps.append((done, expected)))
    assert steps == [(0, 2), (1, 2), (2, 2)]
    return OverheadResults.model_validate_json((directory / "overhead.json").read_text())


def test_every_subject_runs(results: OverheadResults) -> None:
    (process,) = results.processes
    assert process.keys() == SERIES.keys()
    assert {name: len(subjects) for name, subjects in process.items()} == {
        "hits": 5,
        "limits": 8,
        "contended": 3,
        "ways": 8,
        "metrics": 3,
        "asgi": 2,
        "verify": 2,
        "flask": 5,
        "peers": 5,
        "django": 2,
    }
    for subjects in process.values():
        assert all(measured.call > 0 for measured in subjects.values())
        assert (subjects[BARE].added, subjects[BARE].ratio) == (0, 1)
        assert all(measured.ratio > 0 for measured in subjects.values())


def test_every_figure_is_shown(results: OverheadResults) -> None:
    part, measured = overhead_part(), results.model_dump(mode="json")
    assert len(part.goals(measured)) == 12
    tables = part.tables(measured)
    assert {name: len(table.rows) for name, table in tables.items()} == {
        "over_nothing": 11,
        "limited": 7,
        "over_asgi": 2,
        "over_same_headers": 2,
        "over_flask": 5,
        "peers": 5,
        "over_django": 2,
        "instructions": 0,
    }
    words = part.words(measured)
    assert "325 ns" in words["yardstick"]
    assert words["limits"].count("\n- ") == 8
    assert "policy in Python" in words["python_path"]
    assert words["counted"].startswith("Not available: ")


def test_every_measured_series_is_drawn(tmp_path: Path) -> None:
    results = processes_of([100.0] * 5, 325.0).model_dump(mode="json")
    drawn = {path.name for path in overhead_part().draw(results, tmp_path)}
    ways = {"overhead-ways.svg", "overhead-ways.png"}
    assert drawn == {*ways, "overhead-peers.svg", "overhead-peers.png"}
    for process in results["processes"]:
        del process["flask"]
    assert {path.name for path in overhead_part().draw(results, tmp_path)} == ways


def test_instructions_are_added_to_the_bare_call_of_the_same_application() -> None:
    counted = Instructions(
        tool="a counter",
        absent=None,
        calls=1,
        digest="blake2b",
        counts={
            "hits": {BARE: 600.0, "bearer": 3_400.0},
            "ways": {"miss": 240_600.0},
            "flask": {BARE: 350_000.0, "check": 353_000.0},
            "peers": {"before_request, TTLCache": 390_000.0},
        },
    )
    assert counted.added("hits", "bearer") == 2_800
    assert counted.added("ways", "miss") == 240_000
    assert counted.added("flask", "check") == 3_000
    assert counted.added("peers", "before_request, TTLCache") == 40_000
    assert counted.added("django", "djangorestframework-api-key") is None


def timing(bare: float, added: float) -> Timing:
    return Timing(call=bare + added, added=added, ratio=1 + added / bare)


def processes_of(hits: Sequence[float], taken: float) -> OverheadResults:
    """A process for each figure, which is the additional time of a hit over a bare call.

    ``taken`` is the time of the yardstick.
    """
    return OverheadResults(
        settings={},
        digest="sha256",
        processes=[
            {
                "hits": {
                    BARE: timing(50, 0),
                    YARDSTICK: timing(50, taken),
                    "bearer": timing(50, hit),
                },
                "flask": {
                    BARE: timing(40_000, 0),
                    AGAIN: timing(40_000, 1),
                    "check, metrics": timing(40_000, 2 * hit),
                },
            }
            for hit in hits
        ],
        instructions=Instructions(
            tool=None, absent="nothing is counted", calls=0, digest=None, counts={}
        ),
    )


@pytest.mark.parametrize(
    ("hits", "taken", "state", "by_yardstick"),
    [
        ([200.0, 210, 220, 230, 240], 325.0, MET, MET),
        ([200.0, 210, 220, 350, 360], 325.0, UNPROVED, UNPROVED),
        ([310.0, 320, 330, 340, 350], 325.0, MISSED, MISSED),
        ([310.0, 320, 330, 340, 350], 650.0, MISSED, MET),
        ([200.0, 210, 220, 230, 240], 162.5, MET, MISSED),
    ],
)
def test_goals_are_decided_by_the_interval(
    hits: list[float], taken: float, state: str, by_yardstick: str
) -> None:
    absolute, share, pair, _, in_front, *_ = goals.verdicts(processes_of(hits, taken))
    assert absolute.state == f"{state}; by the yardstick {by_yardstick}"
    assert absolute.measured.startswith(f"{median(hits) / 1_000:.2f} µs")
    scaled = median(hits) / 1_000 * 325 / taken
    assert f"; by the yardstick {scaled:.2f} (" in absolute.measured
    assert share.measured.startswith(f"{median(hits) / 400:.2f} %")
    assert pair.state == UNMEASURED
    assert in_front.measured.startswith(f"{2 * median(hits) / 400:.2f} %")
    assert in_front.state == MET


def test_a_share_of_its_own_series_is_the_median_of_ratios() -> None:
    results = processes_of([100.0] * 5, 325.0)
    for process in results.processes:
        process["flask"]["check, metrics"] = Timing(call=40_200, added=200, ratio=1.006)
    for of in (None, "flask"):
        share = results.share("flask", "check, metrics", of)
        assert share is not None
        assert share.value == pytest.approx(0.6)


def test_a_value_rounded_to_zero_has_no_sign() -> None:
    around = [format_figure(figure) for figure in (-0.004, 0.004, -0.006)]
    assert around == ["0.00", "0.00", "-0.01"]


def nothing(environ: Environ, start_response: object) -> list[bytes]:
    return []


def test_an_unexpected_answer_stops_the_run() -> None:
    silent = Subject(nothing, dict, "200")
    with pytest.raises(WrongWay, match="silent answered"):
        time_calls({"silent": silent}, "silent", 1, 1, random.Random(1))


def test_an_unexpected_outcome_stops_the_run() -> None:
    missed = Subject(nothing, dict, None, went=lambda: 0)
    with pytest.raises(WrongWay, match="missed: 0 of 40"):
        time_calls({"missed": missed}, "missed", 1, 1, random.Random(1))


def test_each_subject_is_called_once_per_round_in_random_order() -> None:
    order: list[str] = []

    def named(name: str) -> Subject:
        def application(environ: Environ, start_response: object) -> list[bytes]:
            order.append(name)
            return []

        return Subject(application, dict, None)

    time_calls({name: named(name) for name in "abc"}, "a", 50, 3, random.Random(1))
    rounds = ["".join(order[place : place + 3]) for place in range(len(order) - 150, len(order), 3)]
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) == 6


def test_a_call_is_compared_with_the_bare_call_of_its_round() -> None:
    """Other load makes most rounds twice as slow: medians of calls would give 10, not 20."""
    bare = [100, 200, 100, 200, 200]
    taken = [120, 240, 120, 210, 240]
    assert compare(taken, bare) == Timing(call=210, added=20, ratio=1.2)
    assert compare(bare, bare) == Timing(call=200, added=0, ratio=1)


def test_a_job_can_be_serialised() -> None:
    job = OverheadJob(calls=3, seed=1, keys=2, series=("hits",))
    assert OverheadJob.from_json(job.to_json()) == job


# ---- Instructions

COUNTED = """
import os
def call(count):
    for _ in range(count):
        len("four")
call(1_000)
for count in (0, 1_000, 2_000):
    os.getpgid(0)
    call(count)
os.getpgid(0)
"""


def test_counted_subjects_run(tmp_path: Path) -> None:
    """Run everything that is counted, without a counting tool: callgrind would take a minute."""
    job = {"calls": 1, "rounds": 2, "subjects": instructions.SUBJECTS}
    run_process([sys.executable, "-m", "benchmarks.overhead.counted", json.dumps(job)])


def test_a_counting_tool_is_found_or_its_absence_explained() -> None:
    if not shutil.which("perf") and not shutil.which("valgrind"):
        with pytest.raises(instructions.NoTool, match="valgrind is not installed"):
            instructions.find_tool()
        return
    tool = instructions.find_tool()
    assert shutil.which(tool.name)
    assert re.fullmatch(r"\d[\w.~-]+", tool.version)


def test_callgrind_counts_between_marks(tmp_path: Path) -> None:
    """The mechanism itself, with a program that starts immediately."""
    if not shutil.which("valgrind"):
        with pytest.raises(FileNotFoundError):
            instructions.dump_at_marks([sys.executable], tmp_path)
        return
    blocks = instructions.dump_at_marks([sys.executable, "-S", "-E", "-c", COUNTED], tmp_path)
    _, nothing, once, twice = blocks
    assert nothing < once < twice
    # Another thousand calls take as long as the first thousand, except for larger numbers.
    assert (twice - once) == pytest.approx(once - nothing, rel=0.2)
    assert 20 < (twice - once) / 1_000 < 2_000


def test_the_digest_of_counted_calls_is_named() -> None:
    assert instructions.digest_under(instructions.Tool("perf", "6")) == KeyedDigest.algorithm
