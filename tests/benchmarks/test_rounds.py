"""Every scenario runs one short round with every peer that is installed."""

from __future__ import annotations

import sys

import pytest

from benchmarks.micro import worker
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import LOOP, PEERS, find
from tests.support.benchmarks.rounds import ALWAYS, job

ENTRIES = 200
GETS = (Case("get", ENTRIES), Case("get", ENTRIES, "hot"), Case("get", ENTRIES, hit_percent=50))


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> str:
    """Each peer; a peer that is not installed is skipped with its name."""
    name = str(request.param)
    missing = find([name]).missing
    if missing:
        assert name not in ALWAYS
        pytest.skip(f"{name}: {missing[name]}")
    return name


def test_every_peer_finds_its_entries(peer: str) -> None:
    answer = worker.run(job(*GETS, peers=[peer]))
    assert answer["kept"] == {peer: 1.0}
    assert not answer["missing"]


def test_gets_are_timed_together_with_the_empty_loop(peer: str) -> None:
    answer = worker.run(job(*GETS, peers=[peer]))
    assert [Case(**one["case"]) for one in answer["cases"]] == list(GETS)
    for one in answer["cases"]:
        assert one["samples"].keys() == {peer, LOOP}
        assert all(len(figures) == 1 for figures in one["samples"].values())
        assert all(figure > 0 for figures in one["samples"].values() for figure in figures)


def test_sets_are_timed_together_with_the_empty_loop(peer: str) -> None:
    (one,) = worker.run(job(Case("set", ENTRIES, "new"), peers=[peer]))["cases"]
    assert {name: len(figures) for name, figures in one["samples"].items()} == {peer: 1, LOOP: 1}


def test_threads_are_timed_together(peer: str) -> None:
    cases = [Case("threads", ENTRIES, threads=count) for count in (1, 2)]
    answer = worker.run(job(*cases, peers=[peer]))
    assert [one["case"]["threads"] for one in answer["cases"]] == [1, 2]
    assert all(len(one["samples"][peer]) == 1 for one in answer["cases"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_measured(peer: str) -> None:
    (one,) = worker.run(job(Case("memory", 2_000, "new"), peers=[peer]))["cases"]
    assert one["samples"].keys() == {peer}
    assert len(one["samples"][peer]) == 1


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lru", None)
    answer = worker.run(job(Case("get", ENTRIES), peers=["dict", "lru-dict"]))
    assert answer["missing"].keys() == {"lru-dict"}
    assert "lru" in answer["missing"]["lru-dict"]
    assert answer["cases"][0]["samples"].keys() == {"dict", LOOP}
    memory = worker.run(job(Case("memory", ENTRIES, "new"), peers=["lru-dict"]))
    assert memory["cases"][0]["samples"] == {}
