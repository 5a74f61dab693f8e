"""``latchkey reconcile``: a PostgreSQL database that was restored keeps later restrictions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey.config import load_settings
from latchkey.store.carrying.carried import Carried
from latchkey.store.postgresql.migrate import PREPARING
from latchkey_service.reconciling import reconcile_database
from tests.support.documents.blocks import TEXTS, blocks
from tests.support.latchkey_command import run, run_here
from tests.support.postgresql import USER, Postgresql, programs
from tests.support.service import Pair, Service

GUIDE = "docs/how-to/back-up.md"


@pytest.fixture
def box(tmp_path: Path, postgresql: Postgresql) -> Iterator[Service]:
    """A stopped instance on PostgreSQL."""
    name = postgresql.new_database()
    made = Service(tmp_path, LATCHKEY_WORKERS="1", LATCHKEY_DATABASE_URL=postgresql.url(name))
    run(made, "init")
    yield made
    made.stop()
    postgresql.drop_database(name)


def database(box: Service) -> str:
    return box.settings["LATCHKEY_DATABASE_URL"].rpartition("/")[2]


def create(box: Service, name: str, *options: str) -> Pair:
    made = json.loads(run(box, "keys", "create", "--name", name, "--json", *options))
    return Pair(made["api_key"], made["api_secret"])


def key(box: Service, api_key: str) -> Any:
    return json.loads(run(box, "keys", "show", api_key, "--json"))


def restore_earlier(box: Service, postgresql: Postgresql, copy: str) -> str:
    """Let the instance use a copy that was made before; returns the URL of the newer database."""
    newer = box.settings["LATCHKEY_DATABASE_URL"]
    box.settings["LATCHKEY_DATABASE_URL"] = postgresql.url(copy)
    return newer


def test_nothing_comes_back(box: Service, postgresql: Postgresql) -> None:
    account = json.loads(
        run(box, "accounts", "create", "--name", "Acme", "--external-id", "c", "--json")
    )["id"]
    erased = json.loads(run(box, "accounts", "create", "--name", "Gone", "--json"))["id"]
    keys = {
        name: create(box, name, *options).api_key
        for name, options in {
            "revoked": (),
            "narrowed": ("--scope", "a:read", "--scope", "b:read"),
            "limited": (),
            "disabled": (),
            "rotated": (),
            "same": (),
            "of erased": ("--account", erased, "--scope", "a:read"),
        }.items()
    }
    copy = postgresql.new_database(database(box))
    run(box, "keys", "revoke", keys["revoked"], "--yes")
    run(box, "keys", "change", keys["narrowed"], "--scope", "a:read")
    run(box, "keys", "change", keys["limited"], "--network", "10.0.0.0/8")
    run(box, "keys", "change", keys["disabled"], "--disabled")
    successor = json.loads(run(box, "keys", "rotate", keys["rotated"], "--json"))
    run(box, "accounts", "disable", account)
    run(box, "accounts", "erase", erased, "--yes")
    late = create(box, "late", "--expires-at", "2040-01-01").api_key
    lost = create(box, "lost").api_key
    newer = restore_earlier(box, postgresql, copy)
    try:
        said = run(box, "reconcile", newer, "--yes")
        for name in ("revoked", "rotated", "narrowed", "limited", "disabled"):
            assert keys[name] in said
        for name in (account, erased):
            assert name in said
        assert "all administrators must sign in again" in said
        assert key(box, keys["revoked"])["status"] == "revoked"
        assert key(box, keys["narrowed"])["scopes"] == ["a:read"]
        assert key(box, keys["limited"])["networks"] == ["10.0.0.0/8"]
        assert key(box, keys["disabled"])["enabled"] is False
        assert key(box, keys["rotated"])["rotated_to"] == successor["api_key"]
        assert key(box, successor["api_key"])["status"] == "active"
        assert key(box, keys["same"])["status"] == "active"
        assert key(box, keys["of erased"])["status"] == "revoked"
        assert key(box, late)["status"] == "active"
        assert run_here(box, "keys", "show", lost).returncode == 1
        shown = json.loads(run(box, "accounts", "show", account, "--json"))
        assert shown["status"] == "disabled"
        assert "the audit log is intact" in run(box, "audit", "verify")
        (row,) = json.loads(run(box, "audit", "list", "--limit", "1", "--json"))["entries"]
        assert row["action"] == "store.restore"
        detail = json.loads(row["detail"])
        assert (detail["log"], detail["accounts_erased"]) == ("goes on", [erased])
        # New keys get numbers that were never used.
        assert key(box, create(box, "after").api_key)["status"] == "active"
        again = run_here(box, "reconcile", newer, "--yes")
        assert again.returncode == 1
        assert "has all changes that the other one knows" in again.stderr
    finally:
        postgresql.drop_database(copy)


def test_the_plan_is_shown_and_changes_nothing(box: Service, postgresql: Postgresql) -> None:
    made = create(box, "revoked").api_key
    copy = postgresql.new_database(database(box))
    run(box, "keys", "revoke", made, "--yes")
    newer = restore_earlier(box, postgresql, copy)
    try:
        done = run_here(box, "reconcile", newer)
        assert done.returncode == 1
        assert f"stays revoked or expired: {made}" in done.stdout
        assert "nothing was done" in done.stderr
        assert key(box, made)["status"] == "active"
    finally:
        postgresql.drop_database(copy)


def test_a_dump_is_restored_as_the_guide_says(
    box: Service, postgresql: Postgresql, tmp_path: Path
) -> None:
    kept, revoked = (create(box, name).api_key for name in ("kept", "revoked"))
    name, file = database(box), tmp_path / "latchkey.dump"
    client(postgresql, "pg_dump", "--format=custom", f"--file={file}", name)
    run(box, "keys", "revoke", revoked, "--yes")
    (statements,) = [
        block.text
        for block in blocks(GUIDE, TEXTS[GUIDE])
        if block.options.get("by") == "sql" and "RENAME" in block.text
    ]
    before = f"{name}_before"
    for statement in statements.strip().splitlines():
        named = statement.replace("latchkey_before", before)
        postgresql.execute(named.replace("DATABASE latchkey", f"DATABASE {name}"))
    try:
        client(postgresql, "pg_restore", f"--dbname={name}", str(file))
        assert key(box, revoked)["status"] == "active"
        said = run(box, "reconcile", postgresql.url(before), "--yes")
        assert f"stays revoked or expired: {revoked}" in said
        assert [key(box, one)["status"] for one in (kept, revoked)] == ["active", "revoked"]
        run(box, "audit", "verify")
    finally:
        postgresql.drop_database(before)


def client(server: Postgresql, program: str, *arguments: str) -> None:
    """Run a client of PostgreSQL, by the unix socket."""
    found = programs()
    assert found is not None
    where = ["--host", str(server.directory), "--port", str(server.port), "--username", USER]
    subprocess.run([found / program, *where, *arguments], check=True, capture_output=True)


def test_a_backup_of_sqlite_may_be_the_newer_one(tmp_path: Path, postgresql: Postgresql) -> None:
    """An instance that went on with SQLite after it was copied."""
    name = postgresql.new_database()
    box = Service(tmp_path)
    box.initialize()
    made = box.create_key(name="first")
    source = box.settings["LATCHKEY_DATABASE_URL"]
    url = postgresql.url(name)
    run(box, "migrate-database", source, url, "--yes")
    run_here(box, "audit", "accept", "--yes")
    run(box, "keys", "revoke", made.api_key, "--yes")
    run(box, "backup", str(tmp_path / "newer.db"))
    box.settings["LATCHKEY_DATABASE_URL"] = url
    try:
        said = run(box, "reconcile", str(tmp_path / "newer.db"), "--yes")
        assert f"stays revoked or expired: {made.api_key}" in said
        assert "does not continue the previous one" in said
        assert key(box, made.api_key)["status"] == "revoked"
    finally:
        postgresql.drop_database(name)


class Questions:
    """Confirms everything, and looks whether a service could prepare the databases."""

    def __init__(self, postgresql: Postgresql, names: list[str]) -> None:
        self._postgresql = postgresql
        self._names = names
        self.free: list[bool] = []

    def begin(self, carried: Carried, database: str, former: str) -> None:
        for name in self._names:
            lock = "SELECT pg_try_advisory_lock(%s)"
            ((is_free,),) = self._postgresql.execute(lock, PREPARING, database=name)
            self.free.append(is_free)

    def findings(self, messages: list[str]) -> None:
        pass


def test_no_service_starts_meanwhile(box: Service, postgresql: Postgresql) -> None:
    """A service prepares the database before it caches keys that are being restricted."""
    copy = postgresql.new_database(database(box))
    create(box, "later")
    names = [database(box), copy]
    newer = restore_earlier(box, postgresql, copy)
    try:
        questions = Questions(postgresql, names)
        reconcile_database(load_settings(box.settings), newer, questions)
        assert questions.free == [False, False]
    finally:
        postgresql.drop_database(copy)


def test_a_database_is_not_reconciled_with_itself_by_another_name(
    box: Service, postgresql: Postgresql
) -> None:
    for url in (box.settings["LATCHKEY_DATABASE_URL"], postgresql.socket_url(database(box))):
        done = run_here(box, "reconcile", url, "--yes")
        assert (done.returncode, "names the database in use" in done.stderr) == (1, True), done


def test_sqlite_is_restored_by_another_command(tmp_path: Path, postgresql: Postgresql) -> None:
    box = Service(tmp_path)
    box.initialize()
    run(box, "backup", str(tmp_path / "backup.db"))
    done = run_here(box, "reconcile", str(tmp_path / "backup.db"), "--yes")
    assert (done.returncode, "latchkey restore" in done.stderr) == (1, True)
