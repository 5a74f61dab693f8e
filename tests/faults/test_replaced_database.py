"""The database or its log replaced, removed or truncated while it is in use."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.store.sqlite import wal
from tests.support.faults.database_files import copy_database, remove
from tests.support.faults.outage import (
    SETTINGS,
    assert_internal_error,
    assert_outage,
    assert_recovered,
    lookups,
    prepare,
)
from tests.support.faults.service_processes import kill_all, wait_until
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack


def test_a_database_swapped_for_another(running: Service) -> None:
    keys = prepare(running)
    old = running.database.with_name("old")
    new, made = another_database(running)
    copy_database(running.database, old)
    remove(running.database)
    new.rename(running.database)

    answer = running.get("/v1/account", made.bearer)
    assert (answer.status, answer.json["api_key"]) == (200, made.api_key)
    # They are unknown in the new database. Cached entries are checked again when its log is found
    # to be another one.
    assert {answer.status for answer in lookups(running, keys)} == {401}
    wait_until(
        lambda: running.get("/v1/account", keys.cached.bearer).status == 401,
        "the end of what was remembered",
    )
    issued = running.request("POST", "/v1/api_keys", made.bearer, json_body={"name": "newer"})
    assert issued.status == 201
    listed = running.get("/credentials", made.headers).json["credentials"]
    assert [row["api_key"] for row in listed] == [issued.json["api_key"], made.api_key]

    remove(running.database)
    old.rename(running.database)
    assert running.get("/ready").status == 200


def test_the_log_of_a_database_that_was_replaced(start_service: Callable[..., Service]) -> None:
    """SQLite uses any log with the right name: it must not be applied to another database.

    The service has not seen a replacement before: soon after one, it checks everything again.
    """
    running = start_service(unprivileged=True, **SETTINGS)
    keys = prepare(running)
    aside = running.database.with_name("aside")
    new, made = another_database(running)
    content = new.read_bytes()
    os.link(running.database, aside)
    new.rename(running.database)
    assert_outage(running, keys)
    assert running.database.read_bytes() == content
    answer = running.get("/v1/account", made.bearer)
    assert_internal_error(answer, "internal_error")
    assert "latchkey.db-wal belongs to the previous one: remove it" in running.log

    # Either the former database is restored, and its log has everything that is not in it yet ...
    os.link(running.database, new)
    aside.rename(running.database)
    assert_recovered(running, keys)

    # ... or the log is removed, and the new database is served.
    old = running.database.with_name("old")
    copy_database(running.database, old)
    remove(running.database)
    new.rename(running.database)
    assert running.get("/v1/account", made.bearer).status == 200
    remove(running.database)
    old.rename(running.database)
    assert running.get("/ready").status == 200


def another_database(service: Service) -> tuple[Path, Pair]:
    """Another database with one key, created by the command line with the same derivation key."""
    new = service.database.with_name("new.db")
    other = Service(service.directory)
    other.settings = {**service.settings, "LATCHKEY_DATABASE_URL": f"sqlite:///{new}"}
    return new, other.create_key(name="new")


@pytest.mark.parametrize("replace", [False, True])
def test_removing_the_log_loses_no_acknowledged_change(
    start_service: Callable[..., Service], *, replace: bool
) -> None:
    """It is detected even without requests: the log's content survives the end of all processes."""
    service = start_service()
    issuer, revoked, kept = (service.issue() for _ in range(3))
    path = f"/credentials/{revoked.api_key}"
    assert service.request("DELETE", path, issuer.bearer).status == 200
    log = service.database.with_name(f"{service.database.name}-wal")
    if replace:
        other = log.with_name("other")
        other.write_bytes(log.read_bytes()[:9000])
        other.rename(log)
    else:
        log.unlink()
    # Whichever is noticed first: another file, or a log that is shorter than what was copied.
    noticed = ("content was saved to the database", "truncated while in use: nothing is lost")
    wait_until(lambda: any(one in service.log for one in noticed), "the log to be missed")
    wait_until(lambda: service.get("/ready").status == 200, "the recovery")
    kill_all(service)
    service.start()
    assert service.get("/ready").status == 200
    assert service.get("/v1/account", revoked.bearer).code == "key_revoked"
    assert service.get("/v1/account", kept.bearer).status == 200
    assert service.command("audit", "verify").returncode == 0


def is_counted(service: Service, api_key: str) -> bool:
    """Whether a use of this key, and so every earlier use, is in the database."""
    query = "SELECT last_used_at IS NOT NULL FROM credential WHERE api_key = ?"
    with closing(sqlite3.connect(service.database)) as connection:
        return bool(connection.execute(query, (api_key,)).fetchone() == (1,))


def is_copied(service: Service) -> bool:
    """Whether the database contains everything that is in its log."""
    with service.database.with_name(f"{service.database.name}-shm").open("rb") as file:
        index = wal.read_index(file.fileno())
    return index is not None and not index.needs_log


def test_truncating_the_log_loses_nothing(start_service: Callable[..., Service]) -> None:
    """Acknowledged changes are in the database, too: no revoked key works again."""
    service = start_service(LATCHKEY_FAILURE_LIMIT="off")
    revoked = service.issue()
    # Stopping it empties the log.
    service.stop()
    service.start()
    issuer = service.issue()
    assert service.get("/v1/account", revoked.bearer).status == 200
    path = f"/credentials/{revoked.api_key}"
    assert service.request("DELETE", path, issuer.headers).status == 200
    # Counts are flushed without being copied at once; the cut should find nothing to lose.
    wait_until(
        lambda: is_counted(service, issuer.api_key) and is_copied(service), "the log to be copied"
    )
    os.truncate(service.database.with_name(f"{service.database.name}-wal"), 0)
    wait_until(lambda: "was truncated while in use" in service.log, "the cut to be noticed")

    def is_refused() -> bool:
        answer = service.get("/v1/account", revoked.bearer)
        assert answer.status != 200
        return answer.code == "key_revoked"

    wait_until(is_refused, "the recovery")
    wait_until(lambda: service.get("/ready").status == 200, "the recovery of the other worker")
    assert service.issue().api_key
    assert "nothing is lost" in service.log
    assert service.command("audit", "verify").returncode == 0


def test_truncating_the_log_needs_no_restart(start_service: Callable[..., Service]) -> None:
    """While another process reads an older state, changes stay only in the log."""
    service = start_service(LATCHKEY_FAILURE_LIMIT="off")
    issuer = service.issue()
    with closing(sqlite3.connect(service.database, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM credential").fetchone()
        lost = service.issue()
        os.truncate(service.database.with_name(f"{service.database.name}-wal"), 0)
    wait_until(lambda: "was truncated while in use" in service.log, "the cut to be noticed")
    create = {"name": "x"}
    wait_until(
        lambda: (
            service.request("POST", "/v1/api_keys", issuer.bearer, json_body=create).status == 201
        ),
        "the recovery",
    )
    wait_until(lambda: service.get("/ready").status == 200, "the recovery of the other worker")
    wait_until(
        lambda: service.get("/v1/account", lost.bearer).status == 401, "the end of what is lost"
    )
    # The loss is reported by the service immediately and by the audit log from then on.
    assert "the changes in it are lost" in service.log
    assert service.command("audit", "verify", check=False).returncode != 0


def test_a_log_that_was_removed_while_stopped(start_service: Callable[..., Service]) -> None:
    """It is too late to save it: the start reports it."""
    service = start_service()
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN')\n"
        "print(connection.execute('SELECT count(*) FROM credential').fetchone(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    # While it reads an older state, changes stay only in the log.
    with subprocess.Popen(
        [sys.executable, "-c", code, service.database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline()
        service.issue()
        kill_all(service)
        reader.kill()
    log = service.database.with_name(f"{service.database.name}-wal")
    assert log.stat().st_size
    log.unlink()
    service.start()
    assert "latchkey.db-wal was removed or emptied" in service.log
    assert "the database lacks row" in service.log
