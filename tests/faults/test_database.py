"""The database unreadable, locked, deleted, replaced or full: never a 401, and a recovery."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from latchkey.store.sqlite import wal
from tests.support.faults import disk
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
from tests.support.faults.service_processes import (
    is_alive,
    kill_all,
    other_process,
    wait_until,
    workers,
)
from tests.support.service import LATCHKEY, Pair, Service

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


def remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def copy_database(database: Path, target: Path) -> None:
    """A consistent copy, as in a backup of a database in use."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


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
    made = subprocess.run(
        [LATCHKEY, "keys", "create", "--name", "new", "--mode", "live", "--json"],
        env={**service.environment(), "LATCHKEY_DATABASE_URL": f"sqlite:///{new}"},
        cwd=service.directory,
        capture_output=True,
        check=True,
    )
    fields = json.loads(made.stdout)
    return new, Pair(fields["api_key"], fields["api_secret"])


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
