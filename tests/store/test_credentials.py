"""How credentials are stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from latchkey.credentials.times import to_milliseconds
from latchkey.errors import DuplicateApiKey
from latchkey.store.protocols import Store
from latchkey.store.sqlite.migrate import active_by_derivation
from latchkey.store.verifiers import FIND_IMPORTED_VERIFIER, FIND_VERIFIER
from tests.support.audited import add, revoke
from tests.support.store.new_credentials import NOW, new_credential

MILLISECOND = timedelta(milliseconds=1)


def test_a_page_is_read_by_an_index(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM credential WHERE mode = 'live' AND id < 9 "
            "ORDER BY id DESC LIMIT 50"
        ).fetchall()
    assert [row[3] for row in plan] == [
        "SEARCH credential USING INDEX ix_credential_mode_id (mode=? AND id<?)"
    ]


@pytest.mark.parametrize("statement", [FIND_VERIFIER, FIND_IMPORTED_VERIFIER])
def test_a_check_finds_each_row_by_a_key(database: Path, statement: Select[Any]) -> None:
    compiled = str(statement.compile(dialect=sqlite.dialect()))
    with closing(sqlite3.connect(database)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", (b"",)).fetchall()
    steps = [row[3] for row in plan]
    assert len(steps) == 3
    assert "USING INDEX" in steps[0]
    assert "account USING INDEX" in steps[1]
    # Not even looked for without ``limits_of``, which is NULL then.
    assert "sharing USING INTEGER PRIMARY KEY (rowid=?)" in steps[2]


def test_active_credentials_are_counted_by_their_derivation_key(
    store: Store, database: Path
) -> None:
    def active(now: datetime) -> dict[str, int]:
        with closing(sqlite3.connect(database)) as connection:
            return active_by_derivation(connection, to_milliseconds(now))

    assert active(NOW) == {}
    one, other = "1" * 16, "2" * 16
    add(store, new_credential(derivation_id=one))
    add(store, new_credential(derivation_id=one, expires_at=NOW + MILLISECOND))
    add(store, new_credential(derivation_id=one, expires_at=NOW))
    add(store, new_credential(derivation_id=other, mode="test"))
    ended = add(store, new_credential(derivation_id=other))
    revoke(store, ended.api_key, NOW)
    assert active(NOW) == {one: 2, other: 1}
    assert active(NOW + MILLISECOND) == {one: 1, other: 1}


def test_every_millisecond_of_a_second_is_stored_exactly(store: Store, database: Path) -> None:
    added = add(store, new_credential())
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for millisecond in range(0, 1000, 37):
            moment = NOW.replace(microsecond=millisecond * 1000)
            stored = round(moment.timestamp() * 1000)
            connection.execute("UPDATE credential SET created_at = ?", [stored])
            found = store.find(added.api_key)
            assert found is not None
            assert found.created_at == moment


def test_the_id_of_a_row_is_never_reused(store: Store, database: Path) -> None:
    rows = [add(store, new_credential()) for _ in range(3)]
    assert [row.id for row in rows] == [1, 2, 3]
    # Latchkey never deletes rows, but an operator may.
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM credential WHERE id >= 2")
        assert add(store, new_credential()).id == 4
        connection.execute("DELETE FROM credential")
    assert add(store, new_credential()).id == 5
    with pytest.raises(DuplicateApiKey):
        add(store, new_credential(api_key=store.page(None, 1, None)[0].api_key))
    assert add(store, new_credential()).id > 5


def test_a_secret_leaves_only_its_hash(store: Store, database: Path) -> None:
    new = new_credential(secret_hash=bytes(range(32)))
    add(store, new)
    with closing(sqlite3.connect(database)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(credential)")]
        (stored,) = connection.execute("SELECT secret_hash FROM credential").fetchone()
    assert stored == new.secret_hash
    assert "secret" not in columns
    assert columns == [
        "id",
        "api_key",
        "secret_hash",
        "derivation_id",
        "account_id",
        "mode",
        "name",
        "scopes",
        "created_at",
        "expires_at",
        "revoked_at",
        "rotated_to",
        "original_expires_at",
        "last_used_at",
        "first_used_at",
        "origin",
        "conditions",
        "metadata",
        "limits",
        "limits_of",
    ]
