"""Every scenario under load, in one short round with real gunicorn and Locust."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import plan
from benchmarks.load.client import ClientFailed, Load, ready
from benchmarks.load.paths import BARE, OPEN, OPEN_TOO, PROTECTED
from benchmarks.load.processes import Cores, children
from benchmarks.load.results import LoadResults
from benchmarks.load.service import ServiceFailed, running
from benchmarks.parts import MET
from benchmarks.suite import load_part
from tests.support.benchmarks.pages import require_whole_page
from tests.support.benchmarks.rounds import ROOT

pytestmark = pytest.mark.integration

REQUESTS = 150
"""Requests of each client process: enough for every kind of request of a scenario."""

SHORTEST = replace(
    plan.QUICK,
    main_seconds=1,
    concurrent_seconds=1,
    seconds=1,
    ceiling_seconds=1,
    main_requests=REQUESTS,
    requests=REQUESTS,
    recycle_pause=0.5,
    many=1_200,
    fresh=2 * REQUESTS,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory for temporary files; no files and no processes may be left."""
    directory = tmp_path_factory.mktemp("load")
    before = tempfile.tempdir
    tempfile.tempdir = str(directory)
    processes = set(children(os.getpid()))
    yield directory
    tempfile.tempdir = before
    assert not list(directory.iterdir())
    assert set(children(os.getpid())) <= processes


@pytest.fixture(scope="module")
def measured(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadResults:
    into = tmp_path_factory.mktemp("run")
    seen: list[tuple[int, int]] = []
    part = load_part(settings=SHORTEST)
    part.run(True, into, lambda done, expected, _: seen.append((done, expected)))
    done, expected = seen[-1]
    assert done == expected == len(seen) - 1
    return LoadResults.model_validate(json.loads((into / "load.json").read_text()))


def test_each_arm_gets_requests(measured: LoadResults) -> None:
    assert measured.alike.kinds.keys() <= {OPEN, OPEN_TOO}
    assert measured.main.kinds.keys() <= {OPEN, PROTECTED, BARE}
    for run_ in (measured.alike, measured.main, measured.concurrent, *measured.ceiling):
        assert run_.requests > 0
        assert run_.server_cpu > 0
        assert run_.client_cpu > 0
        assert not run_.errors, run_.name
    assert [run_.client_processes for run_ in measured.ceiling] == [1, 2]


def test_each_scenario_uses_its_cache_level(measured: LoadResults) -> None:
    found = {run_.name: run_ for run_ in measured.scenarios}
    assert len(found) == sum(len(group.steps) for group in plan.groups(SHORTEST))
    for name, run_ in found.items():
        assert run_.requests > 0, name
        # A worker that is replaced closes connections, possibly during a request.
        assert not run_.errors or name == "recycled", (name, run_.errors)
    for name in ("hits, 1 key", "hits, 1,000 keys", "hits, 1,200 keys"):
        assert found[name].lookups["select"] == 0
        assert found[name].lookups["cache"] > 0
    assert found["shared hits"].lookups["shared"] > found["shared hits"].lookups["cache"]
    assert found["recycled"].lookups["shared"] > 0
    assert found["forged"].lookups["forged"] > 0
    assert found["forged"].lookups["select"] == 0
    for name in ("misses", "no cache"):
        # Concurrent requests for one key share a SELECT.
        asked = sum(kind.count for kind in found[name].kinds.values())
        assert found[name].lookups["select"] > 0.9 * asked
    assert found["cachetools"].settings == {"cache_backend": "cachetools"}
    assert found["cachetools"].lookups["cache"] > 0
    assert found["revocations"].revocations > 0
    assert found["revocations"].violations == 0


def test_goals_tables_and_page_are_generated(measured: LoadResults) -> None:
    part = load_part()
    fields = measured.model_dump(mode="json")
    rows = part.goals(fields)
    assert len(rows) == 4
    assert rows[2].state == MET
    require_whole_page(part, fields)


def test_the_service_ends_with_its_block(directory: Path) -> None:
    processes: list[int] = []
    segments: list[Path] = []

    def break_off() -> None:
        with running([0], cores=Cores.apart()) as service:
            processes.extend([service.process.pid, *service.workers])
            segments.append(service.segment)
            assert service.segment.exists()
            key_file = service.settings.derivation_keys_file
            key_file.rename(key_file.with_name("away"))
            with ready() as clients, pytest.raises(ClientFailed, match=key_file.name):
                clients.run(Load("hits", 5, users=1), service, Cores.apart())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert len(processes) == 2
    for process in processes:
        assert not Path(f"/proc/{process}").exists()
    assert not segments[0].exists()
    assert not list(directory.iterdir())


def test_a_service_that_dies_is_not_measured(directory: Path) -> None:
    with running([0], cores=Cores.together()) as service:
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
        with pytest.raises(ServiceFailed, match="ended with status"):
            service.require_alive()


def test_the_locustfile_reports_what_it_needs(tmp_path: Path) -> None:
    locustfile = ROOT / "benchmarks" / "load" / "locustfile.py"
    environment = {name: each for name, each in os.environ.items() if name != "LIVE_API_SECRET"}
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", locustfile, "--headless", "--run-time=1s"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Set LIVE_API_SECRET" in done.stderr


def test_locust_is_not_imported_in_this_process() -> None:
    assert "gevent" not in sys.modules
    assert "locust" not in sys.modules
