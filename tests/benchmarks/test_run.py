"""A short measurement of the cache in its own processes: what it records, and its JSON."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.micro import goals, plan
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import FLOOR, LOCKED, LOOP, OURS, OURS_SHARDED
from benchmarks.micro.results import MicroResults
from benchmarks.micro.summary import peers_of, summarise
from benchmarks.parts import write_json
from benchmarks.processes import ProcessFailed
from benchmarks.suite import cache_part
from tests.support.benchmarks.rounds import ALWAYS, ROOT, SHORTEST, job, measure

SINGLE = set(ALWAYS) - {OURS_SHARDED}


def test_every_case_has_every_peer(results: MicroResults) -> None:
    for case in (goals.ZIPF, goals.HOT, goals.EVICTING):
        cell = results.cell(case)
        assert cell is not None
        assert cell.estimates.keys() == SINGLE
        assert cell.over_ours.keys() == SINGLE - {OURS}
        assert cell.over_floor.keys() == cell.gross_over_floor.keys() == SINGLE - {FLOOR}
    memory = results.cell(goals.MEMORY)
    assert memory is not None
    assert memory.estimates.keys() == SINGLE - {LOCKED}
    for interpreter in ("default", "free-threaded"):
        threads = results.cell(goals.TWO_THREADS, interpreter)
        assert threads is not None
        assert threads.speed_up.keys() == set(ALWAYS) - {"cachetools"}


def test_samples_are_kept_without_the_warm_up(results: MicroResults) -> None:
    cell = results.cell(goals.ZIPF)
    assert cell is not None
    (process,) = cell.processes
    assert {len(figures) for figures in process.values()} == {SHORTEST.rounds}
    assert LOOP in process
    assert LOOP not in peers_of(cell)


def test_peers_that_do_not_fit_into_memory_are_named(results: MicroResults) -> None:
    cell = results.cell(Case("get", 10_000_000))
    assert cell is not None
    assert set(cell.left_out) == SINGLE - {LOCKED}
    assert not cell.estimates


def test_an_import_that_enables_the_gil_is_named(results: MicroResults) -> None:
    # The stand-in always has a GIL.
    python = results.interpreters["free-threaded"]
    assert python.gil is getattr(sys, "_is_gil_enabled", lambda: True)()
    assert results.interpreters["default"].gil_turned_on_by == []


def test_results_can_be_written_and_read(results: MicroResults, tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    write_json(results.model_dump(mode="json"), path)
    assert MicroResults.model_validate_json(path.read_text()) == results
    text = path.read_text()
    assert max(map(len, text.splitlines())) < 2_000
    # Without the name of the machine and the directories of users.
    for private in (socket.gethostname(), str(ROOT), str(Path.home()), sys.prefix):
        assert f"{private}/" not in text
        assert f'"{private}' not in text


@pytest.mark.parametrize("change", ["an unknown field", "a missing one", "another version"])
def test_another_form_is_refused(results: MicroResults, change: str) -> None:
    fields = json.loads(results.model_dump_json())
    if change == "an unknown field":
        fields["cells"][0]["mode"] = "fast"
    elif change == "a missing one":
        del fields["cells"][0]["unit"]
    else:
        fields["version"] = 2
    with pytest.raises(ValidationError):
        MicroResults.model_validate_json(json.dumps(fields))


def test_estimates_can_be_computed_again(results: MicroResults) -> None:
    again = results.model_copy(deep=True)
    for cell in again.cells:
        cell.estimates = {}
    # The main size was measured under another name.
    summarise(again)
    assert again == results


def test_only_the_full_settings_are_complete() -> None:
    assert plan.FULL.whole
    assert not plan.QUICK.whole
    assert not replace(plan.FULL, parts=("get",)).whole
    assert not replace(plan.FULL, peers=ALWAYS).whole
    assert cache_part().whole
    assert not cache_part(only=("get",)).whole


def test_a_part_can_be_run_by_itself() -> None:
    results = measure(replace(SHORTEST, peers=(FLOOR, OURS), parts=("set",)))
    assert [cell.case.scenario for cell in results.cells] == ["set"]


def test_a_failed_process_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = job(Case("get", 10), peers=["no such peer"])
    monkeypatch.setattr(plan, "jobs", lambda *_, **__: [broken])
    with pytest.raises(ProcessFailed, match="no such peer"):
        measure(SHORTEST)
