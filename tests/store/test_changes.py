"""Changes of stored credentials: new terms, rotation, and the log of invalidations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from latchkey.credentials.models import Change, NewCredential, Rotation
from latchkey.errors import StoreError
from latchkey.store.protocols import Store
from tests.support.audited import add, change, revoke, rotate
from tests.support.faults.service_processes import other_process
from tests.support.store.new_credentials import NOW, NewStore, new_credential

LATER = NOW + timedelta(hours=1)


def logged(store: Store, after: int = 0) -> list[str]:
    """The lookup keys in the log, oldest first."""
    return [row.lookup for row in store.invalidations.after(after)]


# ---- New terms


# ---- Rotation


def rotation(successor: NewCredential, until: object = LATER) -> object:
    return lambda found, former: Rotation(successor, until)  # type: ignore[arg-type]


# ---- The log of invalidations


def test_a_change_that_is_not_committed_is_not_logged(new_store: NewStore, database: Path) -> None:
    store = new_store(write_timeout=0.05)
    added = add(store, new_credential())
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    acts: list[Callable[[], object]] = [
        lambda: revoke(store, added.api_key, NOW),
        lambda: change(store, added.api_key, NOW, lambda _: Change(name="x")),
        lambda: rotate(store, added.api_key, NOW, rotation(new_credential())),  # type: ignore[arg-type]
    ]
    with other_process(hold, str(database)):
        for act in acts:
            with pytest.raises(StoreError):
                act()
    assert logged(store) == [added.lookup]
    assert store.find(added.api_key) == added


def test_old_rows_are_deleted_except_the_last(store: Store, database: Path) -> None:
    """The log never goes back: the last number stays, and numbers are not reused."""
    keys = [new_credential(created_at=NOW + timedelta(hours=hour)) for hour in range(5)]
    for new in keys:
        add(store, new)
    assert store.invalidations.prune(NOW + timedelta(hours=2), below=2) == 1
    assert store.invalidations.prune(NOW + timedelta(hours=2), below=9) == 1
    assert logged(store) == [new.lookup for new in keys[2:]]
    assert store.invalidations.prune(NOW + timedelta(days=9), below=9) == 2
    assert [(row.number, row.lookup) for row in store.invalidations.after(0)] == [
        (5, keys[4].lookup)
    ]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM invalidation")
    add(store, new_credential())
    assert [row.number for row in store.invalidations.after(0)] == [6]


def test_a_long_log_is_read_in_batches(store: Store, database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO invalidation (lookup, at) VALUES (?, 0)",
            [(f"live_{number}",) for number in range(10_500)],
        )
        connection.execute("COMMIT")
    first = store.invalidations.after(0)
    assert len(first) == 10_000
    assert [row.number for row in store.invalidations.after(first[-1].number)] == list(
        range(10_001, 10_501)
    )


def test_the_log_is_read_by_its_numbers(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT id, lookup FROM invalidation WHERE id > 9 ORDER BY id"
        ).fetchall()
    assert [row[3] for row in plan] == ["SEARCH invalidation USING INTEGER PRIMARY KEY (rowid>?)"]
