"""The write-ahead log or its index is removed, replaced or truncated while it is in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.credentials.audit import Action
from latchkey.credentials.callers import Author
from latchkey.errors import StoreError
from latchkey.store.protocols import Store
from latchkey.store.sqlite import wal
from tests.support.audited import TESTER, add, answered, open_store, revoke
from tests.support.database import connections_of
from tests.support.store.new_credentials import NOW, new_credential

REFUSED = "-shm was removed or replaced"

Fault = Callable[[Path], None]


def issue(store: Store) -> str:
    """Create a key; returns its public part."""
    outcome = store.add(lambda caller: new_credential(), Action.KEY_ISSUE, Author(TESTER))
    return answered(store, outcome).api_key


def log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def index_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-shm")


def removed(log: Path) -> None:
    log.unlink()


def renamed(log: Path) -> None:
    log.rename(log.with_name("aside"))


def replaced_by_an_empty_file(log: Path) -> None:
    put(log, b"")


def replaced_by_garbage(log: Path) -> None:
    put(log, b"This is no log. " * 4096)


def replaced_by_a_part_of_itself(log: Path) -> None:
    """A valid log, whose content SQLite would use after a crash."""
    content = log.read_bytes()
    put(log, content[: len(content) // 2])


def replaced_by_a_copy(log: Path) -> None:
    put(log, log.read_bytes())


def put(log: Path, content: bytes) -> None:
    other = log.with_name("other")
    other.write_bytes(content)
    other.rename(log)


FAULTS: list[Fault] = [
    removed,
    renamed,
    replaced_by_an_empty_file,
    replaced_by_garbage,
    replaced_by_a_part_of_itself,
    replaced_by_a_copy,
]


def content_after_a_crash(database: Path, directory: Path) -> list[str]:
    """The keys that a process finds if it opens the present files."""
    directory.mkdir()
    for suffix in ("", "-wal"):
        file = database.with_name(database.name + suffix)
        if file.exists():
            shutil.copy(file, directory / file.name)
    with closing(sqlite3.connect(directory / database.name)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in connection.execute("SELECT api_key FROM credential ORDER BY id")]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_acknowledged_change_is_lost(
    store: Store, database: Path, tmp_path: Path, fault: Fault
) -> None:
    """Several stores, as in several workers, each with connections in its pools."""
    with closing(open_store(f"sqlite:///{database}")) as other:
        keys = [add(store, new_credential()).api_key for _ in range(5)]
        assert other.find(keys[0]) is not None
        revoke(store, keys[0], NOW)
        fault(log_of(database))
        other.look_after()
        assert content_after_a_crash(database, tmp_path / "1") == keys
        for one in (store, other, store):
            keys.append(add(one, new_credential()).api_key)
            found = other.find(keys[0])
            assert found is not None
            assert found.revoked_at is not None
            assert content_after_a_crash(database, tmp_path / str(len(keys))) == keys
        store.look_after()
    assert [row.api_key for row in store.page(None, 100, None)] == keys[::-1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_log_that_is_lost_repeatedly(store: Store, database: Path, fault: Fault) -> None:
    keys = []
    for _ in range(5):
        keys.append(add(store, new_credential()).api_key)
        fault(log_of(database))
    assert [row.api_key for row in store.page(None, 100, None)] == keys[::-1]


# Holds the lock of a checkpoint briefly, like another worker that saves the same log.
_CHECKPOINT = """
import fcntl, sys, time
with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 1, 121)
    print("locked", flush=True)
    time.sleep(0.3)
"""


def test_a_log_that_another_process_is_saving(store: Store, database: Path) -> None:
    """SQLite does not wait for that lock; the request waits instead of failing."""
    kept = add(store, new_credential()).api_key
    log_of(database).unlink()
    with subprocess.Popen(
        [sys.executable, "-c", _CHECKPOINT, str(index_of(database))], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        new = add(store, new_credential()).api_key
    assert [row.api_key for row in store.page(None, 100, None)] == [new, kept]


def test_a_log_removed_during_a_change(store: Store, database: Path, tmp_path: Path) -> None:
    """The change is committed to the removed file, and saved before the answer."""
    with connections_of(store).writing() as connection:
        connection.exec_driver_sql("CREATE TABLE made (x)")
        log_of(database).unlink()
    content_after_a_crash(database, tmp_path / "crash")
    with closing(sqlite3.connect(tmp_path / "crash" / database.name)) as connection:
        assert connection.execute("SELECT count(*) FROM made").fetchone() == (0,)


@pytest.mark.parametrize("size", [0, 20, 32, 5000])
def test_a_log_truncated_after_it_was_copied(
    store: Store, database: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """Each change is in the database before it is answered."""
    keys = []
    for _ in range(5):
        keys.append(issue(store))
        os.truncate(log_of(database), size)
        store.look_after()
    assert "nothing is lost" in caplog.text
    assert "are lost" not in caplog.text
    assert [row.api_key for row in store.page(None, 100, None)] == keys[::-1]


@pytest.mark.parametrize("size", [0, 20, 32, 5000])
def test_a_truncated_log(
    store: Store, database: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """The truncated changes are lost; later ones are not, and no restart is needed.

    While another process reads an older state, changes stay only in the log.
    """
    kept = issue(store)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM credential").fetchone()
        for _ in range(5):
            add(store, new_credential())
        os.truncate(log_of(database), size)
    # Writing would leave a hole in the file.
    with pytest.raises(StoreError):
        add(store, new_credential())
    store.look_after()
    assert "was truncated while in use: the changes in it are lost" in caplog.text
    new = issue(store)
    found = [row.api_key for row in store.page(None, 100, None)]
    assert {kept, new} <= set(found)
    store.close()
    assert [row.api_key for row in store.page(None, 100, None)] == found
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_log_emptied_by_a_checkpoint(store: Store, database: Path) -> None:
    """Other processes may do this: it is no damage."""
    for _ in range(3):
        add(store, new_credential())
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert log_of(database).stat().st_size == 0
        store.look_after()
    assert len(store.page(None, 10, None)) == 3


@pytest.mark.parametrize("also_the_log", [False, True])
@pytest.mark.parametrize("replace", [False, True])
def test_a_removed_index(
    store: Store, database: Path, *, also_the_log: bool, replace: bool
) -> None:
    """Processes could no longer exclude each other: nothing is read or written until a restart."""
    added = add(store, new_credential())
    if also_the_log:
        log_of(database).unlink()
    index_of(database).unlink()
    if replace and not also_the_log:
        index_of(database).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(StoreError, match=REFUSED):
            store.check()
        with pytest.raises(StoreError, match=REFUSED):
            store.look_after()
        with pytest.raises(StoreError, match=REFUSED):
            store.find(added.api_key)
        with pytest.raises(StoreError, match=REFUSED):
            add(store, new_credential())
    store.close()
    assert store.find(added.api_key) == added


def test_a_log_removed_while_no_service_ran(database: Path) -> None:
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('CREATE TABLE made (x)')\n"
        "os._exit(0)"
    )
    assert wal.lost_log(database) is None
    subprocess.run([sys.executable, "-c", code, str(database)], check=True)
    assert wal.lost_log(database) is None
    log_of(database).unlink()
    assert "latchkey.db-wal was removed or emptied" in str(wal.lost_log(database))


def test_closing_a_store_keeps_the_locks_of_another(store: Store, database: Path) -> None:
    """Otherwise the next process to close the database would remove the log of the first."""
    added = add(store, new_credential())
    with closing(open_store(f"sqlite:///{database}")) as other:
        other.check()
    code = (
        "import sqlite3, sys\n"
        "sqlite3.connect(sys.argv[1]).execute('SELECT * FROM audit').fetchall()"
    )
    subprocess.run([sys.executable, "-c", code, str(database)], check=True)
    assert log_of(database).exists()
    assert index_of(database).exists()
    assert store.find(added.api_key) == added
