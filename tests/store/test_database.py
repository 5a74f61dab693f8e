"""A SQLite file as the database of an instance, before it is opened."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from latchkey.errors import ConfigurationError
from latchkey.store.database_urls import database_at
from latchkey.store.lifecycle import Database, MigrationReport
from tests.support.database import new_database


def test_a_database_that_does_not_exist_yet(tmp_path: Path) -> None:
    database = database_at(f"sqlite:///{tmp_path}/data/latchkey.db")
    assert not database.exists()
    assert database.losses() is None
    with pytest.raises(ConfigurationError, match="there is no database at"):
        database.require()
    assert database.prepare() == MigrationReport(True, active_by_derivation={}, audit_rows=0)
    assert database.exists()
    database.require()
    assert not database.prepare().created


def test_its_location(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "data" / "latchkey.db"
    database = database_at(f"sqlite:///{path}")
    assert database.shown == f"sqlite:///{path}"
    assert (database.place, database.directory) == (path, path.parent)
    assert database.service_lock == path.with_name("latchkey.db-service")
    names = {file.name.removeprefix("latchkey.db") for file in database.files}
    assert {"", "-wal", "-shm", "-service", ".migration-lock"} <= names


def test_a_database_has_one_identity_under_all_its_names(tmp_path: Path) -> None:
    """Services of one database must find each other by any of its names."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    new_database(real / "latchkey.db")
    one, other, third = (
        database_at(f"sqlite:///{directory}/{name}")
        for directory, name in ((real, "latchkey.db"), (link, "latchkey.db"), (real, "other.db"))
    )
    assert one.identity == other.identity != third.identity
    assert one.service_lock == other.service_lock != third.service_lock


@pytest.mark.parametrize(
    "url", ["", "latchkey.db", "postgresql://localhost/latchkey", "sqlite://", "sqlite:///:memory:"]
)
def test_a_url_that_names_no_database(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LATCHKEY_DATABASE_URL"):
        database_at(url)


def test_only_one_process_at_a_time_prepares_it(tmp_path: Path) -> None:
    database: Database = database_at(new_database(tmp_path / "latchkey.db"))
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with database.preparing():
            order.append("second")

    waiting = threading.Thread(target=second)
    with database.preparing():
        waiting.start()
        entered.wait(0.2)
        order.append("first")
    waiting.join(60)
    assert order == ["first", "second"]


def test_sqlalchemy_is_loaded_only_for_a_store(tmp_path: Path) -> None:
    code = (
        "import sys; from latchkey.store.database_urls import database_at\n"
        "database = database_at(sys.argv[1]); database.exists(); database.losses()\n"
        "sys.exit('sqlalchemy' in sys.modules)\n"
    )
    url = new_database(tmp_path / "latchkey.db")
    subprocess.run([sys.executable, "-c", code, url], env={**os.environ}, check=True)
