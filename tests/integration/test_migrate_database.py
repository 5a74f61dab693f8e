"""``latchkey migrate-database``: an instance moves to PostgreSQL, as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from latchkey.config import load_settings
from latchkey.credentials.times import utc_now
from latchkey.errors import ServiceUnreachable
from latchkey.store.database_urls import database_of
from latchkey.store.postgresql import connections as connections_module
from latchkey.store.postgresql.migrate import PREPARING
from latchkey.store.protocols import NewBox
from latchkey_service.moving import move_database
from tests.support.latchkey_command import run, run_here
from tests.support.postgresql import Postgresql
from tests.support.service import Pair, Service


@pytest.fixture
def target(postgresql: Postgresql) -> Iterator[str]:
    """The name of an empty database."""
    name = postgresql.new_database()
    yield name
    postgresql.drop_database(name)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Service]:
    """A stopped instance on SQLite."""
    made = Service(tmp_path, LATCHKEY_WORKERS="1")
    made.initialize()
    yield made
    made.stop()


def move(box: Service, postgresql: Postgresql, target: str) -> str:
    """Copy the database, and let the instance use the copy; returns what the command said."""
    url = postgresql.url(target, password="hunter2")
    said = run(box, "migrate-database", box.settings["LATCHKEY_DATABASE_URL"], url, "--yes")
    box.settings["LATCHKEY_DATABASE_URL"] = url
    return said


def listing(box: Service, *command: str) -> Any:
    return json.loads(run(box, *command, "--json"))


def edit(box: Service, statement: str) -> None:
    """Change the SQLite database with other tools."""
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        connection.execute(statement)


def counts(postgresql: Postgresql, target: str) -> dict[str, int]:
    """The rows of each table of Latchkey in a database of PostgreSQL; none if it has no tables."""
    names = postgresql.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=target
    )
    return {
        name: postgresql.execute(f'SELECT count(*) FROM "{name}"', database=target)[0][0]
        for (name,) in names
        if name != "alembic_version"
    }


def instance_with_everything(box: Service) -> dict[str, Pair]:
    """An instance with keys of all kinds, accounts and an administrator."""
    account = listing(box, "accounts", "create", "--name", "Acme é", "--external-id", "c-17")["id"]
    keys = {
        name: box.create_key("live", *options, name=name)
        for name, options in {
            "plain": (),
            "narrow": ("--scope", "orders:read", "--network", "127.0.0.0/8"),
            "customer": ("--account", account, "--scope", "orders:read"),
            "revoked": (),
            "rotated": (),
        }.items()
    }
    run(box, "keys", "revoke", keys["revoked"].api_key, "--yes")
    run(box, "keys", "rotate", keys["rotated"].api_key, "--json")
    digest = hashlib.sha256(b"a-token-of-another-system").hexdigest()
    (box.directory / "keys.jsonl").write_text(json.dumps({"name": "theirs", "sha256": digest}))
    run(box, "keys", "import", str(box.directory / "keys.jsonl"))
    return keys


def test_an_instance_goes_on_with_everything(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    keys = instance_with_everything(box)
    commands = (["keys", "list"], ["accounts", "list"], ["admin", "list"])
    before = [listing(box, *command) for command in commands]
    rows = listing(box, "audit", "list")["entries"]
    said = move(box, postgresql, target)
    assert "verified in both" in said
    assert f"/{target}" in said
    assert "hunter2" not in said
    assert [listing(box, *command) for command in commands] == before
    (added, *others) = listing(box, "audit", "list")["entries"]
    assert others == rows
    assert added["action"] == "store.copy"
    assert json.loads(added["detail"])["rows"]["credential"] == len(before[0]["credentials"])
    assert "the audit log is intact" in run(box, "audit", "verify")
    with box:
        statuses = {name: box.get("/v1/account", key.bearer).status for name, key in keys.items()}
        token = {"Authorization": "Bearer a-token-of-another-system"}
        assert box.get("/v1/account", token).status == 200
        # Numbers go on after those that are taken.
        made = box.issue()
        assert box.get("/v1/account", made.bearer).status == 200
    assert statuses == {
        **dict.fromkeys(("plain", "rotated"), 200),
        # Valid, without a scope of Latchkey's own.
        **dict.fromkeys(("narrow", "customer"), 403),
        "revoked": 401,
    }


def test_a_target_with_content_is_refused(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    source = box.settings["LATCHKEY_DATABASE_URL"]
    move(box, postgresql, target)
    before = counts(postgresql, target)
    done = run_here(box, "migrate-database", source, postgresql.url(target), "--yes")
    assert (done.returncode, "not empty" in done.stderr) == (1, True)
    assert counts(postgresql, target) == before


def test_a_failure_leaves_the_target_empty(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    """PostgreSQL stores no character 0. When that is corrected, the copy succeeds."""
    made = box.create_key(name="first")
    edit(box, f"UPDATE credential SET name = 'a' || char(0) WHERE api_key = '{made.api_key}'")
    source = box.settings["LATCHKEY_DATABASE_URL"]
    done = run_here(box, "migrate-database", source, postgresql.url(target), "--yes")
    assert done.returncode == 1
    assert "column name of the row" in done.stderr
    left = counts(postgresql, target)
    # What a migration creates.
    assert {name: rows for name, rows in left.items() if rows} == {"account": 1}
    edit(box, f"UPDATE credential SET name = 'a' WHERE api_key = '{made.api_key}'")
    move(box, postgresql, target)
    assert "intact" in run(box, "audit", "verify")


def test_a_running_service_is_noticed_on_either_side(
    box: Service, postgresql: Postgresql, target: str, tmp_path: Path
) -> None:
    source, url = box.settings["LATCHKEY_DATABASE_URL"], postgresql.url(target)
    with box:
        done = run_here(box, "migrate-database", source, url, "--yes")
        assert (done.returncode, "a service uses this database" in done.stderr) == (1, True)
    assert not any(counts(postgresql, target).values())


def test_an_altered_log_is_reported_and_recorded(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    edit(box, "UPDATE audit SET actor = 'nobody' WHERE number = 1")
    source, url = box.settings["LATCHKEY_DATABASE_URL"], postgresql.url(target)
    done = run_here(box, "migrate-database", source, url, "--yes")
    assert done.returncode == 0, done.stderr
    assert "row 1: does not match the MAC" in done.stderr
    box.settings["LATCHKEY_DATABASE_URL"] = url
    verified = run_here(box, "audit", "verify")
    assert verified.returncode == 1
    assert "the database was copied despite problems" in verified.stdout


@pytest.mark.parametrize("wrong", ["database", "port"])
def test_no_message_contains_the_password(
    box: Service, postgresql: Postgresql, target: str, wrong: str
) -> None:
    url = postgresql.url("missing" if wrong == "database" else target, password="hunter2")
    if wrong == "port":
        url = url.replace(str(postgresql.port), "1")
    source = box.settings["LATCHKEY_DATABASE_URL"]
    done = run_here(box, "migrate-database", source, url, "--yes")
    assert (done.returncode, "hunter2" in done.stdout + done.stderr) == (1, False)


def test_nothing_is_copied_without_a_confirmation(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    source = box.settings["LATCHKEY_DATABASE_URL"]
    done = run_here(box, "migrate-database", source, postgresql.url(target))
    assert (done.returncode, "nothing was done" in done.stderr) == (1, True)
    assert not counts(postgresql, target).get("credential")


class Questions:
    """Confirms everything, with something that happens when the copy begins."""

    def __init__(self, begins: Callable[[], None], goes_on: Callable[[], None]) -> None:
        self._begins = begins
        self._goes_on = goes_on

    def begin(self, source: str, target: str) -> None:
        self._begins()

    def findings(self, messages: list[str]) -> None:
        pass

    def progress(self, table: str, rows: int) -> None:
        self._goes_on()


def test_a_slow_copy_out_of_postgresql_succeeds(
    box: Service, postgresql: Postgresql, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends no transaction that waits for the other database."""
    move(box, postgresql, target)
    box.settings["LATCHKEY_AUDIT_HEAD_FILE"] += "-of-the-copy"
    back = f"sqlite:///{box.directory}/back.db"
    settings = load_settings(box.settings)
    run(box, "audit", "accept", "--yes")

    def shorten() -> None:
        for name in ("LONGEST_IDLE", "_SHORTEST_IDLE"):
            monkeypatch.setattr(connections_module, name, 0.01)

    questions = Questions(shorten, lambda: time.sleep(0.1))
    moved = move_database(settings, settings.database_url, back, questions)
    assert moved.rows["credential"] == 2


def test_no_service_starts_while_a_database_is_copied(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    """A service prepares the database before anything else."""
    settings, free = load_settings(box.settings), []

    def look() -> None:
        lock = "SELECT pg_try_advisory_lock(%s)"
        free.extend(postgresql.execute(lock, PREPARING, database=target))

    moved = move_database(
        settings, settings.database_url, postgresql.url(target), Questions(look, lambda: None)
    )
    assert moved.rows["credential"] == 2
    assert free == [(False,)]


def test_a_service_that_was_starting_on_the_source_already_is_named(
    box: Service, postgresql: Postgresql, target: str
) -> None:
    move(box, postgresql, target)
    box.settings["LATCHKEY_AUDIT_HEAD_FILE"] += "-of-the-copy"
    run(box, "audit", "accept", "--yes")
    settings = load_settings(box.settings)

    def start() -> None:
        with closing(database_of(settings).open_store()) as store:
            assert store.boxes is not None
            late = NewBox("0" * 16, "late", "1", store.boxes.revision, (), 1, 20_000, 0, utc_now())
            store.boxes.register(late)

    back = f"sqlite:///{box.directory}/back.db"
    with pytest.raises(ServiceUnreachable, match=r"^copied, but .* on late with .*stop it there"):
        move_database(settings, settings.database_url, back, Questions(start, lambda: None))
