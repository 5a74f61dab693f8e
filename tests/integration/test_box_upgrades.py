"""Upgrades of boxes to a later version, which has a later revision of the database."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from latchkey.store.revisions import newest_revision
from tests.support.boxes.pooler import pooling
from tests.support.boxes.versions import LaterVersion
from tests.support.faults.service_processes import is_stopped, master, wait_until, workers
from tests.support.postgresql import USER, Postgresql
from tests.support.service import Pair, Service

SEEN = "SELECT 1 FROM box WHERE live AND extract(epoch FROM now()) * 1000 - seen_at <= 2 * lease_ms"


class Boxes:
    """Services on one database, each with its own memory."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._url = url
        self._made: list[Service] = []

    def new(self, name: str) -> Service:
        """A box with the keys of the first one; it does not run yet."""
        memory = self._directory / name / "memory"
        memory.mkdir(parents=True, mode=0o700)
        box = Service(
            self._directory / name,
            LATCHKEY_DATABASE_URL=self._url,
            LATCHKEY_WORKERS="1",
            LATCHKEY_BOX_NAME=name,
            LATCHKEY_LEASE="1",
            LATCHKEY_SHARED_MEMORY=str(memory),
        )
        if self._made:
            shutil.copytree(self._made[0].directory / "secrets", box.directory / "secrets")
            # There is no file of a database to look for.
            box.database.parent.mkdir()
            box.database.touch()
        else:
            box.initialize()
        self._made.append(box)
        return box

    def stop(self) -> None:
        for box in self._made:
            box.stop()


@pytest.fixture
def boxes(tmp_path: Path, postgresql_url: str) -> Iterator[Boxes]:
    made = Boxes(tmp_path, postgresql_url)
    yield made
    made.stop()


def signal_all(box: Service, number: int) -> None:
    for pid in (master(box), *workers(box)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def test_a_migration_is_refused_while_a_box_runs_and_ends_one_that_returns(
    tmp_path: Path, boxes: Boxes, postgresql: Postgresql, postgresql_url: str
) -> None:
    later = LaterVersion(tmp_path)
    first, second = boxes.new("first"), boxes.new("second")

    def found(query: str) -> list[tuple[object, ...]]:
        return postgresql.execute(query, database=postgresql_url.rpartition("/")[2])

    def statuses(pair: Pair) -> list[int]:
        return [box.get("/v1/account", pair.bearer).status for box in (first, second)]

    first.start()
    second.start()
    pair = first.issue()
    assert statuses(pair) == [200, 200]

    # The commands and the service of the later version change nothing while boxes run.
    first.prefix = later.prefix
    for command in ("keys", "list"), ("boxes",):
        refused = first.command(*command, check=False)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert f"needs {later.revision}" in line or "stop the service on first (version " in line
    first.stop()
    refused = first.command("serve", check=False)
    assert refused.returncode == 1
    assert "stop the service on second (version " in refused.stderr
    assert found("SELECT version_num FROM alembic_version") == [(newest_revision(),)]
    assert second.get("/v1/account", pair.bearer).status == 200

    # The other one seems to be lost, and comes back.
    signal_all(second, signal.SIGSTOP)
    try:
        wait_until(lambda: all(map(is_stopped, [master(second), *workers(second)])), "the stop")
        wait_until(lambda: not found(SEEN), "the end of the lease")
        first.start()
        assert found("SELECT version_num FROM alembic_version") == [(later.revision,)]
        revoked = first.request("DELETE", f"/v1/api_keys/{pair.api_key}", headers=pair.bearer)
        assert revoked.status == 200
    finally:
        signal_all(second, signal.SIGCONT)
    # It serves no request, and cannot register.
    kept = first.issue()
    for _ in range(3):
        assert statuses(kept) == [200, 500]
        assert statuses(pair) == [401, 500]
    assert second.get("/ready").status == 503
    wait_until(lambda: f"revision {later.revision}" in second.log, "the line of the log")
    assert found("SELECT name FROM box WHERE live") == [("first",)]
    assert second.command("keys", "list", check=False).returncode == 1

    # A restart of the former version is refused; the later one serves.
    second.stop()
    refused = second.command("serve", check=False)
    assert f"the database has the revision {later.revision}" in refused.stderr
    second.prefix = later.prefix
    second.start()
    assert statuses(kept) == [200, 200]
    assert statuses(pair) == [401, 401]


def test_a_box_that_returns_behind_a_pooler_stops_serving(
    tmp_path: Path, boxes: Boxes, postgresql: Postgresql, postgresql_url: str
) -> None:
    """The migration cannot end the connections between the box and its pooler."""
    later = LaterVersion(tmp_path)
    first, second = boxes.new("first"), boxes.new("second")
    name = postgresql_url.rpartition("/")[2]
    with pooling(postgresql) as (host, port):
        url = f"postgresql+psycopg://{USER}@{host}:{port}/{name}"
        second.settings["LATCHKEY_DATABASE_URL"] = url
        second.start()
        pair = second.issue()
        assert second.get("/v1/account", pair.bearer).status == 200
        signal_all(second, signal.SIGSTOP)
        try:
            wait_until(lambda: all(map(is_stopped, [master(second), *workers(second)])), "the stop")
            wait_until(lambda: not postgresql.execute(SEEN, database=name), "the end of the lease")
            first.prefix = later.prefix
            first.start()
        finally:
            signal_all(second, signal.SIGCONT)
        wait_until(lambda: second.get("/v1/account", pair.bearer).status == 500, "the refusal")
        for _ in range(3):
            assert second.get("/v1/account", pair.bearer).status == 500
            assert first.get("/v1/account", pair.bearer).status == 200
        assert second.get("/ready").status == 503
        second.stop()
        second.prefix = later.prefix
        second.start()
        assert second.get("/v1/account", pair.bearer).status == 200
