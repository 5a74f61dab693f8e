"""The state that a restored database takes over."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.command_line import at_terminal
from tests.support.console.visitor import Visitor, make_administrator
from tests.support.latchkey_command import run, run_here
from tests.support.restoring import (
    back_up,
    detail_of_the_last,
    edit,
    import_token,
    last_number,
    restore,
)
from tests.support.service import Service


@pytest.fixture(scope="module")
def box(resting_box: Service) -> Service:
    """A service that runs only if a test starts it."""
    return resting_box


@pytest.mark.parametrize("name", ["my%20app", "50% of#it?", 'it\'s "é"'])
def test_the_instances_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The row of the restore is in the restored database, and no other file is created."""
    box = Service(tmp_path / name, LATCHKEY_DATABASE_URL="sqlite:///data/latchkey.db")
    box.initialize()
    run(box, "restore", str(back_up(box, "bk.db")), "--yes")
    with closing(sqlite3.connect(box.database)) as connection:
        rows = connection.execute("SELECT action FROM audit ORDER BY number").fetchall()
    assert rows[-1] == ("store.restore",)
    assert "intact" in run(box, "audit", "verify")
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert sorted(one.name for one in box.directory.iterdir()) == ["bk.db", "data", "secrets"]
    assert not [one for one in box.database.parent.iterdir() if "restoring" in one.name]


def test_a_missing_directory_of_the_database_is_created(box: Service, tmp_path: Path) -> None:
    """As on a new machine, where only the key files and the backup were copied to."""
    moved = Service(tmp_path)
    shutil.copytree(box.directory / "secrets", tmp_path / "secrets")
    said = restore(moved, back_up(box, "moved.db"))
    assert "all administrators must sign in again" in said
    assert moved.database.parent.stat().st_mode & 0o777 == 0o700
    assert "intact" in run(moved, "audit", "verify")


def test_a_directory_that_cannot_be_created_is_named(box: Service, tmp_path: Path) -> None:
    moved = Service(tmp_path)
    shutil.copytree(box.directory / "secrets", tmp_path / "secrets")
    moved.database.parent.write_text("a file")
    done = run_here(moved, "restore", str(back_up(box, "not_moved.db")), "--yes")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"latchkey: the directory of the database, {moved.database.parent}, cannot be created: "
        "File exists"
    ]


class ImportedTwice(NamedTuple):
    """The API keys of one token, and backups from before and between the imports."""

    before: Path
    first: str
    with_first: Path
    second: str


def import_twice(box: Service, token: str) -> ImportedTwice:
    """Import a token, and again after a restore, which gives it another API key."""
    before = back_up(box, f"{token}-0.db")
    first = import_token(box, token)
    with_first = back_up(box, f"{token}-1.db")
    restore(box, before)
    return ImportedTwice(before, first, with_first, import_token(box, token))


# ---- Imported keys


def test_an_imported_token_stays_revoked_under_any_api_key(box: Service) -> None:
    made = import_twice(box, "their-token")
    assert made.first != made.second
    run(box, "keys", "revoke", made.second, "--yes")
    said = restore(box, made.with_first)
    assert f"stays revoked or expired: {made.first}" in said
    with box:
        answer = box.get("/v1/account", {"Authorization": "Bearer their-token"})
        assert (answer.status, answer.code) == (401, "key_revoked")
    # In the other direction: if the backup has none of them, the key is taken over unchanged.
    restore(box, made.before)
    with box:
        answer = box.get("/v1/account", {"Authorization": "Bearer their-token"})
        assert (answer.status, answer.code) == (401, "key_revoked")
    assert run_here(box, "audit", "verify").returncode == 0


def test_an_imported_token_gains_no_scopes_under_another_api_key(box: Service) -> None:
    made = import_twice(box, "narrowed-token")
    end = ["--expires-at", "2040-01-01T00:00:00Z"]
    run(box, "keys", "change", made.second, "--scope", "account:read", *end)
    said = restore(box, made.with_first)
    assert f"keeps its current scopes, conditions or limits: {made.first}" in said
    shown = json.loads(run(box, "keys", "show", made.first, "--json"))
    assert (shown["scopes"], shown["expires_at"]) == (["account:read"], "2040-01-01T00:00:00.000Z")


# ---- Rotated keys


@pytest.mark.parametrize(
    ("before", "since", "restored"),
    [
        ([], ["--disabled"], {"enabled": False}),
        (["--network", "10.0.0.0/8"], ["--network", "10.1.0.0/16"], {"networks": ["10.1.0.0/16"]}),
        ([], ["--endpoint", "GET /a"], {"endpoints": ["GET /a"]}),
        ([], ["--not-before", "2035-01-15"], {"not_before": "2035-01-15T00:00:00.000Z"}),
        (
            ["--network", "10.0.0.0/8", "--networks-mode", "observe"],
            ["--networks-mode", "enforce"],
            {"networks_mode": "enforce"},
        ),
        # A backup with stricter conditions is restored as it is.
        (["--disabled"], ["--enabled"], {"enabled": False}),
        (["--network", "10.1.0.0/16"], ["--network", "10.0.0.0/8"], {"networks": ["10.1.0.0/16"]}),
        (["--endpoint", "GET /a"], ["--any-endpoint"], {"endpoints": ["GET /a"]}),
    ],
)
def test_conditions_never_become_looser(
    box: Service, before: list[str], since: list[str], restored: dict[str, object]
) -> None:
    made = json.loads(run(box, "keys", "create", "--name", "x", *before, "--json"))
    backup = back_up(box, f"conditions-{made['api_key']}.db")
    run(box, "keys", "change", made["api_key"], *since)
    restore(box, backup)
    found = json.loads(run(box, "keys", "show", made["api_key"], "--json"))
    assert found.items() >= restored.items()


def test_a_rotated_key_stays_rotated_if_its_expiry_did_not_change(box: Service) -> None:
    """Its own expiry is before the end of the overlap; it must not be rotated again or extended."""
    near = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    made = [box.create_key("live", "--expires-at", near) for _ in range(2)]
    rotated, plain = (pair.api_key for pair in made)
    file = back_up(box, "rotated.db")
    days = ["--overlap", str(20 * 86_400)]
    successor = json.loads(run(box, "keys", "rotate", rotated, *days, "--json"))["api_key"]
    before = json.loads(run(box, "keys", "show", rotated, "--json"))
    said = restore(box, file)
    assert f"stays rotated: {rotated}" in said
    assert plain not in said
    assert detail_of_the_last(box)["rotated"] == 1
    assert json.loads(run(box, "keys", "show", rotated, "--json")) == before
    assert before["rotated_to"] == successor
    again = run_here(box, "keys", "rotate", rotated)
    assert (again.returncode, "already" in again.stderr.lower()) == (1, True), again.stderr
    put_off = run_here(box, "keys", "change", rotated, "--expires-at", "2040-01-01T00:00:00Z")
    assert put_off.returncode == 1
    run(box, "keys", "change", plain, "--expires-at", "2040-01-01T00:00:00Z")
    # The successor of the successor gets the original expiry.
    run(box, "keys", "revoke", successor, "--yes")
    last = json.loads(run(box, "keys", "rotate", rotated, *days, "--json"))["api_key"]
    shown = json.loads(run(box, "keys", "show", last, "--json"))
    assert shown["expires_at"] == before["expires_at"]


# ---- Administrators


def test_a_removed_administrator_cannot_sign_in_after_a_restore(box: Service) -> None:
    for name in ("ada", "bob", "eve"):
        make_administrator(box, name)
    run(box, "admin", "disable", "eve")
    file = back_up(box, "administrators.db")
    run(box, "admin", "remove", "bob", "--yes")
    run(box, "admin", "remove", "eve", "--yes")
    said = restore(box, file)
    gone = "disabled, because the previous database does not contain this administrator: "
    assert f"{gone}bob\n{gone}eve\n" in said
    assert "ada" not in said
    assert detail_of_the_last(box)["kept_out"] == ["bob", "eve"]
    with box:
        assert Visitor(box).sign_in("bob").status == 403
        assert Visitor(box).sign_in("eve").status == 403
        assert Visitor(box).sign_in("ada").status == 303
        # An administrator can enable the account again explicitly.
        run(box, "admin", "enable", "bob")
        assert Visitor(box).sign_in("bob").status == 303


# ---- The audit log


def test_a_truncated_log_is_reported_before_and_after_the_restore(box: Service) -> None:
    file = back_up(box, "cut.db")
    for _ in range(3):
        box.create_key()
    last = last_number(box)
    edit(box, f"DELETE FROM audit WHERE number > {last - 2}")
    cut = f"rows {last - 1} to {last}: removed from the end; the head file records them"
    identity = box.database.stat().st_ino
    status, screen = at_terminal(box, "restore", str(file), prompt="[y/N]", typed="y\nn\n")
    assert status == 1
    assert f"The audit log of the database in use has been altered:\r\n{cut}\r\n" in screen
    assert box.database.stat().st_ino == identity
    assert run_here(box, "audit", "verify").returncode == 1
    accepted = run_here(box, "restore", str(file), "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert cut in accepted.stderr
    assert detail_of_the_last(box)["findings"] == [cut]
    # The finding belongs to the restore; later rows and restores do not hide it.
    make_administrator(box, "grace")
    restore(box, file)
    told = run(box, "audit", "verify").splitlines()
    assert told[0].startswith(f"row {last - 1} (")
    assert told[0].endswith(f"a backup was restored despite problems in the log before it: {cut}")
    rows = last_number(box)
    assert told[1:] == [f"apart from that, the audit log is intact: {rows} rows"]
    said = json.loads(run(box, "audit", "verify", "--json"))
    assert said["findings"] == []
    assert [(one["number"], one["reasons"]) for one in said["restorations"]] == [(last - 1, [cut])]
    make_administrator(box, "heidi")
    with box:
        visitor = Visitor(box)
        assert visitor.sign_in("heidi").status == 303
        fields = visitor.get("/console/audit/").fields("/console/audit/verify")
        page = visitor.post("/console/audit/verify", fields).text
    assert cut in page
    assert "Apart from that, the log is intact" in page
    # The row cannot be altered to report less.
    edit(box, f"UPDATE audit SET detail = '{{}}' WHERE number = {last - 1}")
    assert run_here(box, "audit", "verify").returncode == 1


@pytest.mark.parametrize("since", [True, False])
def test_other_findings_in_the_log_are_reported(tmp_path: Path, since: bool) -> None:
    """A row that is unaltered in the backup is corrected; a later one stays altered."""
    box = Service(tmp_path)
    box.initialize()
    box.create_key()
    file = back_up(box, "altered.db")
    number = last_number(box) + since
    box.create_key()
    edit(box, f"UPDATE audit SET actor = 'eve' WHERE number = {number}")
    found = f"row {number}: does not match the MAC; changed, moved or inserted"
    done = run_here(box, "restore", str(file), "--yes")
    assert done.returncode == 0
    assert found in done.stderr
    verified = run_here(box, "audit", "verify")
    assert verified.returncode == since
    assert f"despite problems in the log before it: {found}\n" in verified.stdout
    assert (f"\n{found}\n" in verified.stdout) is since


def test_rows_that_are_missing_after_a_restore_are_reported(tmp_path: Path) -> None:
    """If the database is missing, the head file has the number of its last row."""
    box = Service(tmp_path)
    box.initialize()
    file = back_up(box, "before.db")
    rows = last_number(box)
    box.create_key()
    box.database.unlink()
    restore(box, file)
    assert (
        f"rows after row {rows} of the backup are lost, and the head file recorded row "
        f"{rows + 1}\napart from that, the audit log is intact: {rows + 1} rows\n"
    ) in run(box, "audit", "verify")
