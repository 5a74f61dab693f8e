"""Copying a database into an empty one: everything, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.credentials.audit import Action, Actor, AuditEvent, AuditRow
from latchkey.credentials.audit_check import verify
from latchkey.credentials.limits import quota_limit
from latchkey.store import copying
from latchkey.store.copying import CopyFailed, copy_database, require_empty
from latchkey.store.protocols import Store
from tests.support.audited import AUDIT_KEY, add, new_seal, result_of, revoke
from tests.support.database import new_database
from tests.support.store.new_credentials import NOW, new_credential


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "copy" / "latchkey.db"
    path.parent.mkdir()
    new_database(path)
    return path


@pytest.fixture
def copied(store: Store, target: Path, opened: Callable[[Path], Store]) -> Store:
    """The copy of a store with one key."""
    add(store, new_credential(name="é"))
    made = opened(target)
    copy(store, made)
    return made


@pytest.fixture
def opened() -> Iterator[Callable[[Path], Store]]:
    """Opens stores, which are closed at the end of the test."""
    from latchkey.store.database_urls import database_at

    made: list[Store] = []

    def opener(path: Path) -> Store:
        made.append(database_at(f"sqlite:///{path}").open_store(seal=new_seal(path)))
        return made[-1]

    yield opener
    for store in made:
        store.close()


def read_all(rows: Iterable[AuditRow]) -> None:
    """Accept any audit log."""
    for _ in rows:
        pass


def copy(
    source: Store, target: Store, judge: Callable[[Iterable[AuditRow]], None] = read_all
) -> dict[str, int]:
    def event(rows: dict[str, int]) -> AuditEvent:
        return AuditEvent(NOW, Action.STORE_COPY, Actor.service(), detail={"rows": rows})

    return result_of(copy_database(source, target, event, judge, lambda table, rows: None))


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The rows of every table, as other tools read them."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for (name,) in names.fetchall()
        }


def test_every_row_is_copied_with_its_numbers(
    store: Store, database: Path, target: Path, opened: Callable[[Path], Store]
) -> None:
    """In several batches; the log of the copy has one row more."""
    monthly = quota_limit("monthly", 100, "month")
    keys = [
        add(store, new_credential(name=f"é {number}", limits=(monthly,))) for number in range(5)
    ]
    for key in keys[:3]:
        store.limits.reserve(key.limits[0].id, "5" * 32, 7, NOW)
    revoke(store, keys[0].api_key, NOW)
    before = content(database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_BATCH", 2)
        rows = copy(store, opened(target))
    after = content(target)
    assert (rows["credential"], rows["limit_state"], rows["quota_reservation"]) == (5, 5, 3)
    (added,) = [row for row in after["audit"] if row not in before["audit"]]
    assert added[2] == "store.copy"
    after["audit"].remove(added)
    assert after == before
    assert content(database) == before


def test_numbers_are_not_used_again(
    store: Store, database: Path, target: Path, opened: Callable[[Path], Store]
) -> None:
    """Also those above the largest number that there is."""
    add(store, new_credential())
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = 70 WHERE name = 'credential'")
    made = opened(target)
    copy(store, made)
    assert add(made, new_credential()).id == 71


def test_a_database_with_content_is_refused(store: Store, copied: Store, target: Path) -> None:
    before = content(target)
    with pytest.raises(CopyFailed, match="not empty"):
        require_empty(copied)
    with pytest.raises(CopyFailed, match="not empty"):
        copy(store, copied)
    assert content(target) == before


@pytest.mark.parametrize("value", ["x'00ff'", "'a' || char(0) || 'b'"])
def test_a_value_that_only_sqlite_stores_is_named_by_its_row(
    store: Store, database: Path, target: Path, opened: Callable[[Path], Store], value: str
) -> None:
    made = add(store, new_credential())
    before = content(target)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"UPDATE credential SET name = {value}")
    with pytest.raises(CopyFailed, match=f"name of the row {made.id} of credential"):
        copy(store, opened(target))
    assert content(target) == before


def test_a_copy_that_differs_is_undone(
    store: Store, target: Path, opened: Callable[[Path], Store]
) -> None:
    """Such as by a trigger of the target."""
    add(store, new_credential(name="as it was"))
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TRIGGER t AFTER INSERT ON credential BEGIN "
            "UPDATE credential SET name = 'changed' WHERE id = new.id; END"
        )
    before = content(target)
    with pytest.raises(CopyFailed, match="rows of credential differ"):
        copy(store, opened(target))
    assert content(target) == before


def test_a_log_that_is_refused_undoes_the_copy(
    store: Store, target: Path, opened: Callable[[Path], Store]
) -> None:
    """The function gets the copied log, oldest row first."""
    add(store, new_credential())
    before = content(target)

    def judge(rows: Iterable[AuditRow]) -> None:
        found = verify(AUDIT_KEY, rows, None)
        assert (found.rows, found.findings) == (1, [])
        raise CopyFailed("refused")

    with pytest.raises(CopyFailed, match="refused"):
        copy(store, opened(target), judge)
    assert content(target) == before
