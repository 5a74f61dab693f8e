"""Use counts are exact, even if processes are killed, replaced, upgraded and restarted."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from latchkey.box.segment import attached
from latchkey.box.shared import Word
from latchkey.config import load_settings
from tests.support.faults.load import Load, under_load
from tests.support.faults.service_processes import (
    children,
    is_alive,
    is_stopped,
    kill_all,
    master,
    wait_until,
    workers,
)
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Three workers; a test must leave them running."""
    directory = tmp_path_factory.mktemp("counts")
    with Service(directory, LATCHKEY_WORKERS="3", LATCHKEY_FAILURE_LIMIT="off") as service:
        yield service


def counted(service: Service, pair: Pair) -> int:
    """The number of requests that the service has counted for a key; reading it adds none."""
    if service.process is None:
        asked = service.command("keys", "usage", pair.api_key, "--json").stdout
        return int(json.loads(asked)["requests"])
    return int(service.usage(pair)["requests"])


def check_counts(service: Service, pair: Pair, load: Load) -> None:
    """As many as were answered; aborted requests may have been counted or not."""
    assert set(load.statuses) == {200}
    assert load.statuses[200] <= counted(service, pair) <= load.statuses[200] + load.broken


def written(service: Service) -> int:
    """The uses in the database, of all credentials."""
    with closing(sqlite3.connect(service.database)) as connection:
        found = connection.execute("SELECT coalesce(sum(uses), 0) FROM usage").fetchone()
    return int(found[0])


def shared_files(service: Service) -> list[Path]:
    record = service.database.with_name(f"{service.database.name}-service")
    path = Path(json.loads(record.read_text())["segment"])
    return [path] if path.exists() else []


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def await_flush(service: Service) -> None:
    """Wait until a worker has just started to flush the counts."""
    with attached(load_settings(service.settings)) as shared:
        due = shared.words.value(Word.FLUSH_DUE)
        wait_until(lambda: shared.words.value(Word.FLUSH_DUE) != due, "a flush", pause=0.0005)


def test_workers_and_the_flusher_are_killed_at_random(box: Service, long: bool) -> None:
    """One of them at a random moment, or all of them while one flushes the counts."""
    pair, ended = box.issue(), box.issue()
    assert box.request("DELETE", f"/credentials/{ended.api_key}", box.issue().headers).status == 200
    generator = random.Random(7)
    kills = 0
    with (
        under_load(box, lambda: pair, pause=0 if long else 0.01) as load,
        under_load(box, lambda: ended, clients=1, pause=0.01) as refused,
    ):
        while kills < (300 if long else 7):
            if kills % 7 == 4:
                await_flush(box)
                time.sleep(generator.uniform(0, 0.004))
                victims = workers(box)
            else:
                time.sleep(generator.uniform(0, 0.6))
                victims = generator.sample(workers(box), 1)
            kill(*victims)
            kills += len(victims)
            wait_until(
                lambda victims=victims: (
                    len(workers(box)) == 3  # type: ignore[misc]
                    and not set(victims) & set(workers(box))
                ),
                "new workers",
            )
    assert load.statuses[200] > 20
    assert set(refused.statuses) == {401}
    check_counts(box, pair, load)
    assert "Traceback" not in box.log


def test_a_stopped_worker_delays_no_other(box: Service) -> None:
    """It delays no answers, counts or revocations of other workers."""
    pair, other = box.issue(), box.issue()
    for _ in range(20):
        assert box.get("/v1/account", pair.bearer).status == 200
    before = written(box)
    issuer = box.issue()
    stopped = workers(box)[0]
    try:
        wait_until(lambda: stops_without_a_lock(box, stopped), "a worker that holds no lock")
        assert box.request("DELETE", f"/credentials/{other.api_key}", issuer.headers).status == 200
        for _ in range(4):
            assert box.get("/v1/account", other.bearer).status == 401
        wait_until(lambda: written(box) > before, "what was counted to be written down")
        assert counted(box, pair) == 20
    finally:
        os.kill(stopped, signal.SIGCONT)


def stops_without_a_lock(service: Service, pid: int) -> bool:
    """Stop a worker; it continues if SQLite is locked, since that may be its lock."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid), "the worker to stop")
    with closing(sqlite3.connect(service.database, timeout=0, isolation_level=None)) as database:
        with suppress(sqlite3.OperationalError):
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
            busy, _, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if not busy:
                return True
    os.kill(pid, signal.SIGCONT)
    return False


def test_a_reload_loses_no_request_and_no_count(box: Service, long: bool) -> None:
    pair = box.issue()
    with under_load(box, lambda: pair, pause=0 if long else 0.01) as load:
        for _ in range(10 if long else 1):
            before = set(workers(box))
            os.kill(master(box), signal.SIGHUP)
            wait_until(
                lambda before=before: (
                    len(workers(box)) == 3  # type: ignore[misc]
                    and not before & set(workers(box))
                ),
                "new workers in place of the old",
            )
    assert load.broken == 0
    check_counts(box, pair, load)


def test_workers_are_added_and_removed(box: Service, long: bool) -> None:
    pair = box.issue()
    steps = ((signal.SIGTTIN, 4), (signal.SIGTTOU, 3), (signal.SIGTTOU, 2), (signal.SIGTTIN, 3))
    with under_load(box, lambda: pair, pause=0 if long else 0.01) as load:
        for number, count in steps * (5 if long else 1):
            os.kill(master(box), number)
            wait_until(lambda count=count: len(workers(box)) == count, f"{count} workers")  # type: ignore[misc]
    assert load.broken == 0
    check_counts(box, pair, load)


def test_every_process_is_killed(box: Service, long: bool) -> None:
    """The next start persists the counts that were not flushed."""
    pair = box.issue()
    total = broken = 0
    for _ in range(20 if long else 1):
        with under_load(box, lambda: pair, pause=0.002 if long else 0.01) as load:
            time.sleep(random.uniform(0.3, 2.5))
            kill_all(box)
        box.start()
        total, broken = total + load.statuses[200], broken + load.broken
        # After that, no process answered the clients until they stopped.
        assert total <= counted(box, pair) <= total + broken


def test_a_clean_stop_leaves_nothing_in_memory(box: Service) -> None:
    pair = box.issue()
    for _ in range(9):
        assert box.get("/v1/account", pair.bearer).status == 200
    assert len(shared_files(box)) == 1
    box.stop()
    assert shared_files(box) == []
    assert counted(box, pair) == 9


def test_an_upgrade_loses_no_request_and_no_count(box: Service, long: bool) -> None:
    """USR2: a second master joins the memory of the first one, and continues after its end.

    This is the last test of the module, because the second master is not the fixture's.
    """
    if box.process is None:
        box.start()
    pair, revoked, issuer = box.issue(), box.issue(), box.issue()
    old = master(box)
    wait_until(lambda: len(workers(box)) == 3, "every worker of the first one")
    listening = box.log.count("Listening at")
    with under_load(box, lambda: pair, pause=0 if long else 0.01) as load:
        before = set(workers(box))
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: box.log.count("Listening at") == listening + 1, "the second master")
        (new,) = set(workers(box)) - before
        wait_until(lambda: len(children(new)) == 3, "its workers")
        assert box.process is not None
        box.process.terminate()
        box.process.wait(60)
        for _ in range(8):
            assert box.get("/v1/account", revoked.bearer).status == 200
        path = f"/credentials/{revoked.api_key}"
        assert box.request("DELETE", path, issuer.headers).status == 200
        for _ in range(8):
            assert box.get("/v1/account", revoked.bearer).status == 401
    try:
        assert load.broken == 0
        check_counts(box, pair, load)
    finally:
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not is_alive(new), "the second master's end")
        box.process = None
    check_counts(box, pair, load)
    assert shared_files(box) == []
