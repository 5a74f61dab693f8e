"""The database unreadable, locked, deleted or full: never a 401, and a recovery."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.faults import disk
from tests.support.faults.database_files import copy_database, remove
from tests.support.faults.outage import (
    SETTINGS,
    Keys,
    assert_cache_serves,
    assert_internal_error,
    assert_outage,
    assert_recovered,
    assert_writes_fail,
    at_once,
    derived,
    lookups,
    prepare,
)
from tests.support.faults.service_processes import is_alive, other_process, wait_until, workers
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack

GARBAGE = b"This is no database. " * 1024

Fault = Callable[[Path], Iterator[None]]


def unreadable_file(database: Path) -> Iterator[None]:
    database.chmod(0o000)
    yield
    database.chmod(0o600)


def unreadable_directory(database: Path) -> Iterator[None]:
    database.parent.chmod(0o000)
    yield
    database.parent.chmod(0o700)


def renamed_away(database: Path) -> Iterator[None]:
    aside = database.with_name("aside")
    database.rename(aside)
    yield
    assert not database.exists()
    aside.rename(database)


def directory_renamed_away(database: Path) -> Iterator[None]:
    aside = database.parent.with_name("aside")
    database.parent.rename(aside)
    yield
    assert not database.parent.exists()
    aside.rename(database.parent)


def deleted_and_restored(database: Path) -> Iterator[None]:
    """Deleted with its log and index, and restored from a backup that was made while serving."""
    backup = database.with_name("backup")
    copy_database(database, backup)
    remove(database)
    yield
    assert not database.exists()
    backup.rename(database)


def deleted_and_copied_back(database: Path) -> Iterator[None]:
    """Deleted without its log, and restored byte by byte with another inode."""
    content = database.read_bytes()
    database.unlink()
    yield
    assert not database.exists()
    restored = database.with_name("restored")
    restored.write_bytes(content)
    restored.rename(database)


def replaced_by_garbage(database: Path) -> Iterator[None]:
    aside, garbage = database.with_name("aside"), database.with_name("garbage")
    os.link(database, aside)
    garbage.write_bytes(GARBAGE)
    garbage.rename(database)
    yield
    assert database.read_bytes() == GARBAGE
    aside.rename(database)


def replaced_by_a_directory(database: Path) -> Iterator[None]:
    aside = database.with_name("aside")
    database.rename(aside)
    database.mkdir()
    yield
    database.rmdir()
    aside.rename(database)


def overwritten_with_garbage(database: Path) -> Iterator[None]:
    """The same file with its pages overwritten, and then the original pages restored."""
    with closing(sqlite3.connect(database)) as other:
        # Content that is only in the log would still be served, which is correct.
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    content = database.read_bytes()
    # Connections use their cached pages until another process commits, so one does: a process that
    # has everything in its own cache, and changes a column without an index.
    commit = (
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('SELECT * FROM credential WHERE id = 1').fetchone()\n"
        "open(sys.argv[1], 'r+b').write(bytes.fromhex(sys.argv[2]) * 4096)\n"
        "c.execute('UPDATE credential SET derivation_id = derivation_id WHERE id = 1')"
    )
    with other_process(commit, str(database), GARBAGE[:24].hex()):
        pass
    yield
    overwrite(database, content)


def cut_to_nothing(database: Path) -> Iterator[None]:
    """The same file, empty: it has no table, and none may be created."""
    content = database.read_bytes()
    os.truncate(database, 0)
    yield
    assert database.stat().st_size == 0
    overwrite(database, content)


def overwrite(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


@contextmanager
def under(fault: Fault, database: Path) -> Iterator[None]:
    """Cause the fault, and repair it even if the block fails."""
    steps = fault(database)
    next(steps)
    try:
        yield
    finally:
        next(steps, None)


@pytest.mark.parametrize(
    "fault",
    [
        unreadable_file,
        unreadable_directory,
        renamed_away,
        directory_renamed_away,
        deleted_and_restored,
        deleted_and_copied_back,
        replaced_by_garbage,
        replaced_by_a_directory,
        overwritten_with_garbage,
        cut_to_nothing,
    ],
)
def test_an_unavailable_database(running: Service, fault: Fault) -> None:
    keys = prepare(running)
    with under(fault, running.database):
        assert_outage(running, keys)
    assert_recovered(running, keys)


def test_failed_changes_invalidate_nothing(running: Service, long: bool) -> None:
    """No change starts, so no cached key is looked up again in the missing database."""
    caller = running.issue()
    warm = [running.issue() for _ in range(40)]
    for pair in (caller, *warm):
        assert running.get("/v1/account", pair.bearer).status == 200
    new = [derived(running) for _ in range(2_000 if long else 150)]
    with under(unreadable_file, running.database):
        for pair in new:
            body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
            answer = running.request("POST", "/credentials", json_body=body)
            assert_internal_error(answer, "INTERNAL_ERROR")
        for pair in warm:
            path = f"/credentials/{pair.api_key}"
            assert running.request("DELETE", path, caller.bearer).status == 500
            assert (
                running.request(
                    "PATCH", f"/v1/api_keys/{pair.api_key}", caller.bearer, json_body={"name": "x"}
                ).status
                == 500
            )
        statuses = {running.get("/v1/account", pair.bearer).status for pair in warm}
    assert statuses == {200}


def test_a_database_that_another_process_writes_to(running: Service) -> None:
    keys = prepare(running)
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    with other_process(hold, str(running.database)):
        assert {answer.status for answer in lookups(running, keys)} == {200, 401}
        assert_writes_fail(running, keys)
        assert running.get("/ready").status == 200
        assert_cache_serves(running, keys)
    assert_recovered(running, keys)


def test_a_database_that_another_process_has_locked_exclusively(
    start_service: Callable[..., Service],
) -> None:
    # The lock requires that no other process has the database open. A worker opens it at its start,
    # so this one starts while there is no worker, and takes the lock.
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_THREADS="16")
    hold = (
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA locking_mode = EXCLUSIVE')\n"
        "c.execute('BEGIN EXCLUSIVE')"
    )
    pair = derived(service)
    register = {"api_key": pair.api_key, "api_secret": pair.api_secret}
    directory = service.database.parent
    aside = directory.with_name("aside")
    directory.rename(aside)
    (victim,) = workers(service)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not is_alive(victim) and answers(service), "a new worker")
    with other_process(hold, str(aside / service.database.name)):
        aside.rename(directory)
        lookup, ready, write = at_once(
            lambda: service.get("/v1/account", pair.bearer),
            lambda: service.get("/ready"),
            lambda: service.request("POST", "/credentials", json_body=register),
        )
        assert_internal_error(lookup, "internal_error")
        assert (ready.status, ready.code) == (503, "NOT_READY")
        assert_internal_error(write, "INTERNAL_ERROR")
        assert service.get("/health").status == 200
    assert service.get("/ready").status == 200
    assert service.get("/v1/account", pair.bearer).code == "invalid_api_key"
    assert service.request("POST", "/credentials", json_body=register).status == 201
    assert service.get("/v1/account", pair.bearer).status == 200


def answers(service: Service) -> bool:
    try:
        return service.get("/health").status == 200
    except (OSError, HTTPException):
        return False


KINDS_OF_FULL = ["limit", "tmpfs"] if disk.can_mount() else ["limit"]


@pytest.mark.parametrize("kind", KINDS_OF_FULL)
def test_a_full_disk(tmp_path: Path, running: Service, kind: str) -> None:
    if kind == "limit":
        assert_writes_fail_while(running, disk.limited(running))
        return
    data = tmp_path / "data"
    data.mkdir()
    with (
        disk.mounted(data),
        Service(tmp_path, unprivileged=True, LATCHKEY_WORKERS="1") as service,
    ):
        assert_writes_fail_while(service, disk.filled(data))


def assert_writes_fail_while(service: Service, full: AbstractContextManager[None]) -> None:
    """On a full disk nothing can be added, but existing rows can be read."""
    keys = prepare(service)
    with log_that_only_grows(service):
        for _ in range(5):
            service.issue()
        with full:
            added = use_up(service, keys)
            assert_writes_fail(service, keys)
            assert {answer.status for answer in lookups(service, keys)} == {200, 401}
            assert service.get("/ready").status == 200
            assert_cache_serves(service, keys)
    assert_recovered(service, keys)
    for pair in added:
        assert service.get("/v1/account", pair.bearer).status == 200


@contextmanager
def log_that_only_grows(service: Service) -> Iterator[None]:
    """Within the block, the log is not restarted, because another process reads."""
    with closing(sqlite3.connect(service.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM credential").fetchone()
        yield


def use_up(service: Service, keys: Keys) -> list[Pair]:
    """Fill the remaining space of the disk by creating keys; returns the acknowledged ones.

    A revocation needs less space than a new key.
    """
    added: list[Pair] = []
    create = {"name": "x" * 100}
    for _ in range(2_000):
        answer = service.request("POST", "/v1/api_keys", keys.cached.bearer, json_body=create)
        if answer.status == 201:
            added.append(Pair(answer.json["api_key"], answer.json["api_secret"]))
        elif added and revoked(service, keys, added[-1]):
            added.pop()
        elif disk.needs_room(service):
            return added
    raise AssertionError("the disk does not become full")


def revoked(service: Service, keys: Keys, pair: Pair) -> bool:
    """Whether a key could be revoked."""
    path = f"/credentials/{pair.api_key}"
    return service.request("DELETE", path, keys.cached.headers).status == 200


def test_without_its_index_only_the_cache_works(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(**SETTINGS)
    keys = prepare(service)
    service.database.with_name(f"{service.database.name}-shm").unlink()
    assert_outage(service, keys)
    assert "-shm was removed or replaced while in use" in service.log
    service.stop()
    service.start()
    assert_recovered(service, keys)
