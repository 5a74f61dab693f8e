"""Audit rows that are not text: verification finds them, and they are displayed safely."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.console.visitor import Visitor, make_administrator
from tests.support.latchkey_command import run_here
from tests.support.service import Service

NO_TEXT = "CAST(x'61ff62' AS TEXT)"
BLOB = "x'00ff'"
CASES = [
    (column, value, shown)
    for column in ("action", "actor_kind", "actor", "address", "subject", "detail", "mac")
    for value, shown in ((NO_TEXT, "a\\xffb"), (BLOB, "x'00ff'"))
] + [("at", NO_TEXT, "a\\xffb"), ("at", BLOB, "x'00ff'"), ("at", "9e999", "inf")]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with some rows in its log, and an administrator."""
    with Service(tmp_path_factory.mktemp("tampering"), LATCHKEY_WORKERS="1") as running:
        make_administrator(running)
        for _ in range(4):
            running.create_key()
        yield running


@pytest.fixture(scope="module")
def ada(box: Service) -> Visitor:
    signed_in = Visitor(box)
    assert signed_in.sign_in().status == 303
    return signed_in


def put(box: Service, number: int, column: str, value: object) -> object:
    """Write a value or an SQL expression into a row; returns the previous value."""
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        query = f"SELECT {column} FROM audit WHERE number = ?"
        (before,) = connection.execute(query, [number]).fetchone()
        sql, bound = (value, []) if isinstance(value, str) else ("?", [value])
        connection.execute(f"UPDATE audit SET {column} = {sql} WHERE number = {number}", bound)
    return before


def put_back(box: Service, number: int, column: str, before: object) -> None:
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        connection.execute(f"UPDATE audit SET {column} = ? WHERE number = ?", [before, number])


def last_number(box: Service) -> int:
    with closing(sqlite3.connect(box.database)) as connection:
        return int(connection.execute("SELECT max(number) FROM audit").fetchone()[0])


def findings(box: Service) -> list[tuple[str, int, int]]:
    done = run_here(box, "audit", "verify", "--json")
    found = json.loads(done.stdout)["findings"]
    assert done.returncode == (1 if found else 0)
    return [(one["problem"], one["first"], one["last"]) for one in found]


@pytest.mark.parametrize(("column", "value", "shown"), CASES)
def test_values_that_are_not_text_are_found_and_displayed(
    box: Service, ada: Visitor, column: str, value: str, shown: str
) -> None:
    before = put(box, 3, column, value)
    try:
        assert findings(box) == [("altered", 3, 3)]
        message = (
            f"row 3: the {column} does not match its digest"
            if column in ("address", "detail")
            else "row 3: does not match the MAC"
        )
        assert message in run_here(box, "audit", "verify").stdout
        name = "at_ms" if column == "at" else column
        listed = json.loads(run_here(box, "audit", "list", "--json").stdout)["entries"]
        exported = [
            json.loads(line) for line in run_here(box, "audit", "export").stdout.splitlines()
        ]
        downloaded = [
            json.loads(line) for line in ada.get("/console/audit/export").text.splitlines()
        ]
        assert listed[::-1] == exported == downloaded
        assert exported[2][name] == shown
        table = box.command("audit", "list").stdout
        page = ada.get("/console/audit/")
        assert page.status == 200
        if column != "mac":
            assert shown in table
            assert shown.replace("'", "&#39;") in page.text
        verified = ada.post("/console/audit/verify", page.fields("/console/audit/verify"))
        assert message in verified.text
    finally:
        put_back(box, 3, column, before)
    assert findings(box) == []


@pytest.mark.parametrize("value", [NO_TEXT, BLOB])
def test_changes_continue_after_a_row_that_is_not_text(box: Service, value: str) -> None:
    """The MAC of the last row is an input of the next one, over HTTP and on the command line."""
    kept = box.create_key()
    number = last_number(box)
    before = put(box, number, "mac", value)
    assert findings(box) == [("altered", number, number), ("head", number, number)]
    revoked = box.issue()
    done = run_here(box, "keys", "revoke", revoked.api_key, "--yes")
    assert done.returncode == 0, done.stderr
    assert box.get("/v1/account", revoked.bearer).code == "key_revoked"
    assert box.get("/v1/account", kept.bearer).status == 200
    # Only the row itself is reported, and the head is unchanged, so that nothing is hidden.
    assert findings(box) == [("altered", number, number), ("head", number, number)]
    assert run_here(box, "audit", "accept", "--yes").returncode == 0
    assert findings(box) == [("altered", number, number)]
    assert isinstance(before, str)
    # The next row was chained to the altered content.
    put_back(box, number, "mac", before)
    assert findings(box) == [("altered", number + 1, number + 1)]
    put(box, number, "mac", value)
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM audit WHERE number >= ?", [number])
    assert run_here(box, "audit", "accept", "--yes").returncode == 0
    assert findings(box) == []
