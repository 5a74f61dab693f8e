"""Audit rows about the creation of a key: the rotation or the import that created it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from latchkey.credentials.audit import AuditFilter
from latchkey.store.audit import filtered
from latchkey.store.protocols import Store
from latchkey.store.sqlite.dialect import SqliteDialect
from latchkey.store.tables import audit
from tests.support.store.births import import_some, issue, rotated
from tests.support.store.new_credentials import new_credential


def test_an_altered_row_names_no_key_and_causes_no_error(store: Store, database: Path) -> None:
    first = issue(store).api_key
    second = rotated(store, first)
    (imported,) = import_some(store, 1)
    for garbage in ("'no JSON'", "x'00ff'", "'[1]'", """'{"successor": 1, "first_id": "x"}'"""):
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(f"UPDATE audit SET detail = {garbage} WHERE number > 1")
            connection.execute("REINDEX")
        assert store.audit.page(AuditFilter(first), 10)[-1].number == 1
        assert store.audit.page(AuditFilter(second), 10) == []
        assert store.audit.page(AuditFilter(imported), 10) == []


@pytest.mark.parametrize("start", [None, 5])
def test_only_indexes_are_read(store: Store, database: Path, start: int | None) -> None:
    """However many rows there are: SQLite's query plan has only indexes."""
    query = filtered(select(audit), AuditFilter(subject=new_credential().api_key), SqliteDialect())
    query = query.order_by(audit.c.number.desc()).limit(20)
    if start is not None:
        query = query.where(audit.c.number < start)
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with closing(sqlite3.connect(database)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled}")]
    assert not [step for step in plan if step.startswith("SCAN")], plan
    for index in ("ix_audit_subject_number", "ix_audit_successor", "ix_audit_import"):
        assert any(index in step for step in plan), plan
