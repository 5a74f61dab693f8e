"""Migration to the current revision: of new, current, newer and foreign databases, concurrently."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError
from latchkey.store import revisions
from latchkey.store.lifecycle import MigrationReport
from latchkey.store.revisions import MIGRATIONS, newest_revision
from latchkey.store.sqlite.indexes import metadata
from latchkey.store.sqlite.migrate import (
    migrate,
    migrate_in_child,
)
from tests.support.audited import add, open_store, revoke
from tests.support.faults.service_processes import open_files, other_process
from tests.support.store.new_credentials import new_credential

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a database that does not exist yet; its directory does not exist either."""
    return tmp_path / "made" / "for it" / "latchkey.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_new_database(path: Path, url: str) -> None:
    assert migrate_in_child(url) == MigrationReport(True, active_by_derivation={}, audit_rows=0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with closing(open_store(url)) as store:
        added = add(store, new_credential())
        assert store.find(added.api_key) == added


def test_the_file_is_private_whatever_the_umask(path: Path, url: str) -> None:
    before = os.umask(0)
    try:
        migrate_in_child(url)
    finally:
        os.umask(before)
    with closing(open_store(url)) as store:
        add(store, new_credential())
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"latchkey.db", "latchkey.db-wal", "latchkey.db-shm"} < set(modes)


def test_it_is_in_wal_mode_permanently(path: Path, url: str) -> None:
    migrate(url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


_BY_EXPRESSION = ("ix_credential_name", "ix_audit_successor")


@pytest.mark.filterwarnings("ignore:.*expression-based index .?ix_audit_successor")
def test_the_schema_equals_the_tables(path: Path, url: str) -> None:
    migrate(url)
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            # Alembic cannot compare expressions in an index; the next test does.
            options = {
                "compare_type": True,
                "compare_server_default": True,
                "include_object": lambda part, name, *_: name not in _BY_EXPRESSION,
            }
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


def test_the_schema_equals_that_created_from_the_tables(
    path: Path, url: str, tmp_path: Path
) -> None:
    """Including what alembic does not compare: AUTOINCREMENT and the names of constraints."""
    migrate(url)
    plain = tmp_path / "plain.db"
    engine = create_engine(f"sqlite:///{plain}")
    try:
        metadata.create_all(engine)
    finally:
        engine.dispose()
    assert schema(path) == schema(plain)
    assert "AUTOINCREMENT" in schema(path)["credential"]


def schema(path: Path) -> dict[str, str]:
    """The statements that create the tables and indexes, except alembic's, in one spacing."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name != ?",
            ["alembic_version"],
        )
        return {
            name: " ".join(sql.split()).replace(" ,", ",").replace(" )", ")") for name, sql in made
        }


def test_a_second_migration_changes_nothing(path: Path, url: str) -> None:
    migrate(url)
    with closing(open_store(url)) as store:
        add(store, new_credential())
    before = content(path)
    assert migrate(url).created is False
    assert content(path) == before


def test_the_report_counts_active_credentials(url: str) -> None:
    migrate(url)
    now = utc_now()
    with closing(open_store(url)) as store:
        add(store, new_credential(derivation_id="1" * 16))
        add(store, new_credential(derivation_id="2" * 16, expires_at=now + timedelta(days=1)))
        add(store, new_credential(derivation_id="2" * 16, expires_at=now - timedelta(days=1)))
        ended = add(store, new_credential(derivation_id="3" * 16))
        revoke(store, ended.api_key, now)
    assert migrate_in_child(url) == MigrationReport(False, {"1" * 16: 1, "2" * 16: 1}, audit_rows=5)


def test_the_newest_revision_is_alembics(path: Path, url: str) -> None:
    """One is taken from the names of the files, the other from their content."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    (head,) = ScriptDirectory.from_config(config).get_heads()
    assert newest_revision() == head
    migrate(url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(head,)]


@pytest.mark.parametrize(
    ("undo", "needs"),
    [
        (None, False),
        ("UPDATE alembic_version SET version_num = '0001'", True),
        ("DELETE FROM alembic_version", True),
        ("DROP TABLE alembic_version", True),
        ("DROP TABLE credential", True),
        ("PRAGMA journal_mode = DELETE", True),
    ],
)
def test_alembic_is_loaded_only_if_it_may_be_needed(
    path: Path, url: str, undo: str | None, needs: bool
) -> None:
    migrate(url)
    if undo is not None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(undo)
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "latchkey.store.sqlite.migrate"],
        env={**os.environ, "LATCHKEY_DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert "latchkey.store.sqlite.pinned" in loaded
    assert ("alembic" in loaded, "sqlalchemy" in loaded) == (needs, needs)


def test_four_concurrent_processes(path: Path, url: str) -> None:
    starting = [
        subprocess.Popen(
            [sys.executable, "-m", "latchkey.store.sqlite.migrate"],
            env={**os.environ, "LATCHKEY_DATABASE_URL": url},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    printed = [process.communicate() for process in starting]
    assert [process.returncode for process in starting] == [0] * 4
    assert [error for _, error in printed] == [""] * 4
    assert sorted(json.loads(report)["created"] for report, _ in printed) == [False] * 3 + [True]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "latchkey.db",
        "latchkey.db.migration-lock",
    ]


def test_a_second_migration_waits_for_the_first(path: Path, url: str) -> None:
    path.parent.mkdir(parents=True)
    hold = "f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    environment = {**os.environ, "LATCHKEY_DATABASE_URL": url}
    with other_process(hold, f"{path}.migration-lock"):
        waiting = subprocess.Popen(
            [sys.executable, "-m", "latchkey.store.sqlite.migrate"],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
        assert not path.exists()
    assert waiting.wait(60) == 0
    assert path.exists()


def test_nothing_is_opened_in_the_calling_process(path: Path, url: str) -> None:
    migrate_in_child(url)
    assert open_files(os.getpid(), path) == []


def test_an_interrupted_start_is_continued(path: Path, url: str) -> None:
    """A start that was killed before it created the tables leaves an empty file."""
    path.parent.mkdir(parents=True)
    path.touch(mode=0o600)
    assert migrate(url).created is False
    with closing(open_store(url)) as store:
        store.check()


def newer(path: Path) -> None:
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE credential (something TEXT)")


def no_database(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 1000)


def damaged(path: Path) -> None:
    migrate(f"sqlite:///{path}")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 5000)


def a_directory(path: Path) -> None:
    path.mkdir()


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


def empty_with_a_log(path: Path) -> None:
    path.touch()
    path.with_name(f"{path.name}-wal").write_bytes(b"what is left of it")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            newer,
            "Can't locate revision identified by '9999'; install the version that has migrated",
        ),
        (foreign, "table credential already exists"),
        (no_database, "file is not a database"),
        (damaged, "malformed"),
        (a_directory, "is not a regular file"),
        (below_a_file, "exists"),
        (empty_with_a_log, "the file is empty, but latchkey.db-wal still exists"),
    ],
)
def test_a_database_that_cannot_be_migrated_is_refused_in_one_line(
    path: Path, url: str, spoil: object, reason: str
) -> None:
    path.parent.mkdir(parents=True)
    assert callable(spoil)
    spoil(path)
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    with pytest.raises(ConfigurationError) as caught:
        migrate(url)
    message = str(caught.value)
    assert message.startswith(str(path.parent))
    assert reason in message
    assert "\n" not in message
    for file, was in before.items():
        assert file.read_bytes() == was, f"{file.name} was changed"


def test_the_line_of_the_child_is_passed_on(path: Path, url: str) -> None:
    path.parent.mkdir(parents=True)
    no_database(path)
    with pytest.raises(ConfigurationError) as caught:
        migrate_in_child(url)
    assert str(caught.value) == (
        f"LATCHKEY_DATABASE_URL: the database could not be prepared: {path}: file is not a database"
    )


def test_a_url_that_names_no_file_is_refused_before_any_child_starts() -> None:
    with pytest.raises(ConfigurationError, match=r"^LATCHKEY_DATABASE_URL must name a SQLite"):
        migrate_in_child("postgresql://localhost/latchkey")


def test_a_database_of_the_first_version_keeps_its_content(path: Path, url: str) -> None:
    """Its rows get the new columns, empty, and are not rewritten."""
    migrate(url)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            if table not in ("credential", "alembic_version"):
                connection.execute(f"DROP TABLE {table}")
        for index in (
            "ix_credential_name",
            "ix_credential_expires_at",
            "ix_credential_account_id_mode_id",
            "uq_credential_imported_hash",
            "ix_credential_limits_of",
        ):
            connection.execute(f"DROP INDEX {index}")
        columns = [row[1] for row in connection.execute("PRAGMA table_info(credential)")]
        for column in columns[columns.index("revoked_at") + 1 :]:
            connection.execute(f"ALTER TABLE credential DROP COLUMN {column}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.execute(
            "INSERT INTO credential VALUES (7, 'ak_live_0000000000000000000001', zeroblob(32), "
            "'0123456789abcdef', 'acct_1', 'live', 'kept', '*', 1, 2, 3)"
        )
    assert migrate(url).created is False
    with closing(open_store(url)) as store:
        (kept,) = store.page(None, 10, None)
        assert (kept.id, kept.name, kept.rotated_to, kept.last_used_at) == (7, "kept", None, None)
        assert kept.origin == "derived"
        assert add(store, new_credential()).id == 8


def test_the_newest_revision_is_that_of_the_files_at_the_start(tmp_path: Path) -> None:
    """An upgrade replaces the files while processes of the former version run."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_first.py").touch()
    copy = shutil.copy(revisions.__file__, tmp_path)
    spec = spec_from_file_location("copied_revisions", copy)
    assert spec is not None
    assert spec.loader is not None
    copied = module_from_spec(spec)
    spec.loader.exec_module(copied)
    assert copied.newest_revision() == "0001"
    (versions / "0002_second.py").touch()
    assert copied.newest_revision() == "0001"
