"""Files that another user puts beside a database are not read; a linked database can be used."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.errors import ConfigurationError, StoreError
from latchkey.store.database_urls import database_at
from latchkey.store.sqlite.backup import BackupFailed, back_up, check_backup
from latchkey.store.sqlite.location import BESIDE, database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey.store.sqlite.wal import lost_log
from tests.support.audited import add, open_store
from tests.support.database import new_database
from tests.support.other_users import NOBODY, as_root
from tests.support.store.new_credentials import new_credential


def uses(database: Path) -> dict[type[Exception], Callable[[], object]]:
    """The operations that open a database, by the error that they raise."""

    def read() -> None:
        with closing(database_at(database_url(database)).open_store()) as store:
            store.check()

    def copy() -> None:
        back_up(database, database.with_name("copy.db"))

    return {
        StoreError: read,
        ConfigurationError: lambda: migrate(database_url(database)),
        BackupFailed: copy,
    }


@pytest.mark.parametrize("suffix", BESIDE)
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_anything_but_a_file_is_refused_immediately(database: Path, suffix: str, kind: str) -> None:
    planted = database.with_name(f"{database.name}{suffix}")
    if kind == "link":
        planted.symlink_to(database.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    for error, use in uses(database).items():
        with pytest.raises(error, match=f"{planted.name}.*(link|regular)"):
            use()
    assert lost_log(database) is None
    assert not database.with_name("nowhere").exists()


@as_root
def test_a_log_of_another_user_is_not_read(database: Path, tmp_path: Path) -> None:
    """SQLite would copy its content into the database."""
    other = tmp_path / "other"
    other.mkdir()
    new_database(other / "latchkey.db")
    with closing(sqlite3.connect(other / "latchkey.db")) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE planted (x)")
        connection.commit()
        content = Path(f"{other / 'latchkey.db'}-wal").read_bytes()
    planted = Path(f"{database}-wal")
    planted.write_bytes(content)
    planted.chmod(0o666)
    os.chown(planted, NOBODY, NOBODY)
    for error, use in uses(database).items():
        with pytest.raises(error, match=r"\.db-wal: belongs to user nobody, .* chown root "):
            use()
    planted.unlink()
    with closing(sqlite3.connect(database)) as connection:
        assert not connection.execute("PRAGMA table_info(planted)").fetchall()


@as_root
def test_a_log_of_the_directorys_owner_is_read(database: Path) -> None:
    os.chown(database.parent, NOBODY, NOBODY)
    for suffix in ("-wal", "-shm"):
        path = Path(f"{database}{suffix}")
        path.touch(mode=0o600)
        os.chown(path, NOBODY, NOBODY)
    for use in uses(database).values():
        use()


def test_a_backup_that_is_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "copy.db")
    with pytest.raises(BackupFailed, match="not a regular file"):
        check_backup(tmp_path / "copy.db")


def test_the_files_beside_a_linked_database_are_found(database: Path, tmp_path: Path) -> None:
    real = tmp_path / "real" / "keys.db"
    real.parent.mkdir()
    database.rename(real)
    database.symlink_to(real)
    with closing(open_store(f"sqlite:///{database}")) as store:
        add(store, new_credential())
        assert Path(f"{real}-wal").exists()
        # It is moved while it is in use.
        moved = tmp_path / "moved.db"
        add(store, new_credential())
        with closing(sqlite3.connect(real)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in ("", *BESIDE):
            if Path(f"{real}{suffix}").exists():
                Path(f"{real}{suffix}").rename(f"{moved}{suffix}")
        real.symlink_to(moved)
        add(store, new_credential())
        assert store.count("live") == 3
