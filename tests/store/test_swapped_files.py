"""A file that replaces the database: which content is read, and which log belongs to it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.errors import ConfigurationError, StoreError
from latchkey.store.protocols import Store
from latchkey.store.sqlite.migrate import migrate
from tests.support.audited import add, open_store
from tests.support.database import new_database
from tests.support.store.new_credentials import new_credential


def test_a_replaced_file_is_opened_again(store: Store, database: Path, tmp_path: Path) -> None:
    former = add(store, new_credential())
    other_path = tmp_path / "other.db"
    with closing(open_store(new_database(other_path))) as other:
        added = add(other, new_credential())
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink()
    other_path.rename(database)
    assert store.find(former.api_key) is None
    assert store.find(added.api_key) == added
    assert add(store, new_credential()).id == added.id + 1


def test_a_file_put_in_place_keeps_its_content(
    store: Store, database: Path, tmp_path: Path
) -> None:
    """The log of the former file has its name, and must not be used for it."""
    add(store, new_credential())
    other_path = tmp_path / "other.db"
    with closing(open_store(new_database(other_path))) as other:
        added = add(other, new_credential())
    content = other_path.read_bytes()
    aside = tmp_path / "aside.db"
    database.rename(aside)
    other_path.rename(database)
    for _ in range(3):
        with pytest.raises(StoreError, match=r"latchkey\.db-wal belongs to the previous one"):
            store.find(added.api_key)
        with pytest.raises(StoreError, match=r"latchkey\.db-wal belongs to the previous one"):
            add(store, new_credential())
    assert database.read_bytes() == content
    database.unlink()
    aside.rename(database)
    assert [row.id for row in store.page(None, 10, None)] == [1]


def test_a_copy_replaces_its_original(store: Store, database: Path, tmp_path: Path) -> None:
    """The log belongs to the content, so changes that are only in the log are not lost."""
    added = add(store, new_credential())
    copy = tmp_path / "copy.db"
    copy.write_bytes(database.read_bytes())
    database.unlink()
    with pytest.raises(StoreError, match="cannot find the database file"):
        store.find(added.api_key)
    copy.rename(database)
    assert store.find(added.api_key) == added


def test_two_files_are_exchanged(store: Store, database: Path, tmp_path: Path) -> None:
    one = add(store, new_credential())
    other_directory = tmp_path / "other"
    other_directory.mkdir()
    with closing(open_store(new_database(other_directory / database.name))) as other:
        two = add(other, new_credential())
        for _ in range(3):
            swap(database, other_directory / database.name)
            assert (store.find(one.api_key), store.find(two.api_key)) == (None, two)
            swap(database, other_directory / database.name)
            assert (store.find(one.api_key), store.find(two.api_key)) == (one, None)


def swap(one: Path, other: Path) -> None:
    """Exchange two databases, each with its log and index."""
    for suffix in ("", "-wal", "-shm"):
        mine, yours = (path.with_name(path.name + suffix) for path in (one, other))
        held = mine.with_name("held")
        mine.rename(held)
        yours.rename(mine)
        held.rename(yours)


@pytest.mark.parametrize("content", [b"", b"This is no database. " * 1000, b"SQLite format 3\0"])
def test_a_log_outlives_the_failure_of_its_file(
    store: Store, database: Path, content: bytes
) -> None:
    """When the last connection closes, SQLite copies the log into the file, even a damaged one."""
    added = add(store, new_credential())
    good = database.read_bytes()
    log = database.with_name("latchkey.db-wal").read_bytes()
    database.write_bytes(content)
    with closing(open_store(f"sqlite:///{database}")) as fresh:
        for _ in range(3):
            with pytest.raises(StoreError):
                fresh.check()
            with pytest.raises(StoreError):
                add(fresh, new_credential())
    assert database.read_bytes() == content
    assert database.with_name("latchkey.db-wal").read_bytes() == log
    database.write_bytes(good)
    assert store.find(added.api_key) == added


@pytest.mark.parametrize("content", [b"", b"This is no database. " * 1000])
def test_the_log_of_a_killed_process_outlives_the_failure_of_its_file(
    database: Path, content: bytes
) -> None:
    api_key = new_credential().api_key
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('INSERT INTO credential VALUES (9,?,?,?,(SELECT id FROM account),?,NULL,?,0,"
        'NULL,NULL,NULL,NULL,NULL,NULL,"derived",NULL,NULL,NULL,NULL)\','
        " [sys.argv[2], bytes(32), '1' * 16, 'live', '*'])\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(database), api_key], check=True)
    good = database.read_bytes()
    log = database.with_name("latchkey.db-wal").read_bytes()
    assert log
    database.write_bytes(content)
    url = f"sqlite:///{database}"
    for _ in range(2):
        with closing(open_store(url)) as store, pytest.raises(StoreError):
            store.find(api_key)
        with pytest.raises(ConfigurationError):
            migrate(url)
    assert database.read_bytes() == content
    assert database.with_name("latchkey.db-wal").read_bytes() == log
    database.write_bytes(good)
    with closing(open_store(url)) as store:
        found = store.find(api_key)
    assert found is not None
    assert found.id == 9
