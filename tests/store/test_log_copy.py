"""Copying the log into the database while other processes copy and write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials.callers import Author
from latchkey.credentials.publishing import Publisher
from latchkey.store.protocols import Store
from latchkey.store.sqlite import connections, log_copy, wal
from tests.support.audited import TESTER, add
from tests.support.store.new_credentials import NOW, new_credential

CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"


class Interrupted(sqlite3.Connection):
    """A connection that lets others act before its checkpoint."""

    others: Callable[[], object]

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement == CHECKPOINT:
            self.others()
        return super().execute(statement, *arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.db"


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE number (value)")
        yield connection


def salt(path: Path) -> bytes:
    """The salt changes whenever the log is restarted."""
    return path.with_name(f"{path.name}-wal").read_bytes()[16:24]


def copied_while(path: Path, others: Callable[[], object]) -> None:
    with (
        closing(sqlite3.connect(path, isolation_level=None, factory=Interrupted)) as anchor,
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
    ):
        anchor.execute("SELECT * FROM number").fetchall()
        anchor.others = others
        log_copy.copy(anchor, reader)
        assert not reader.in_transaction


def test_the_log_is_not_restarted_during_a_copy(path: Path, other: sqlite3.Connection) -> None:
    """Otherwise a second copy would treat the frames of the new log as already copied."""
    before = salt(path)

    def copy_and_write() -> None:
        busy, frames, copied = other.execute(CHECKPOINT).fetchone()
        assert (busy, frames) == (0, copied)
        other.execute("INSERT INTO number VALUES (1)")
        assert salt(path) == before

    copied_while(path, copy_and_write)
    # After the copy, the log is restarted by the next write.
    other.execute(CHECKPOINT).fetchone()
    other.execute("INSERT INTO number VALUES (2)")
    assert salt(path) != before
    assert other.execute("SELECT value FROM number").fetchall() == [(1,), (2,)]


def test_a_copied_log_is_not_copied_again(path: Path, other: sqlite3.Connection) -> None:
    """Then other connections are not prevented from restarting it."""
    other.execute(CHECKPOINT).fetchone()
    copied = path.read_bytes()
    copied_while(path, lambda: other.execute("INSERT INTO number VALUES (1)"))
    assert path.read_bytes() == copied
    assert other.execute("SELECT value FROM number").fetchall() == [(1,)]
    assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_change_waits_until_another_connection_lets_it_be_copied(
    store: Store, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of another worker reads the log too, and limits this one to what it reads."""
    monkeypatch.setattr(connections, "_COPY_WAIT", 60.0)
    added = add(store, new_credential())
    store.look_after()
    with (
        closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as other,
        database.with_name(f"{database.name}-shm").open("rb") as file,
    ):
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM credential").fetchone()
        timer = threading.Timer(0.05, lambda: other.execute("ROLLBACK"))
        publisher = Publisher(store.audit, lambda lookup: timer.start())
        publisher.publish(store.revoke(added.api_key, NOW, Author(TESTER)))
        timer.join()
        index = wal.read_index(file.fileno())
        assert index is not None
        assert not index.needs_log


def test_a_change_is_published_before_it_is_copied_and_copied_before_it_is_answered(
    store: Store, database: Path
) -> None:
    """Copying waits for the disk; a revoked key must not stay valid for that time."""
    added = add(store, new_credential())
    store.look_after()
    # Open to the end: closing it drops the locks that this process has on it.
    with database.with_name(f"{database.name}-shm").open("rb") as file:

        def is_in_the_log_alone() -> bool:
            index = wal.read_index(file.fileno())
            assert index is not None
            return index.needs_log

        assert not is_in_the_log_alone()
        seen: list[bool] = []
        publisher = Publisher(store.audit, lambda lookup: seen.append(is_in_the_log_alone()))
        publisher.publish(store.revoke(added.api_key, NOW, Author(TESTER)))
        assert seen == [True]
        assert not is_in_the_log_alone()
