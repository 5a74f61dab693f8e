"""How the store opens SQLite: durably, without creating files, and reading the latest commit."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from latchkey.errors import ConfigurationError, StoreError
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store
from latchkey.store.sqlite.backup import back_up, check_backup
from latchkey.store.sqlite.engines import _open_connection, open_reader, open_writer
from latchkey.store.sqlite.location import database_path, database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey.store.sqlite.pinned import PinnedFile
from tests.support.audited import add, new_seal, open_store, revoke
from tests.support.database import connections_of, new_database
from tests.support.faults.service_processes import open_files
from tests.support.store.new_credentials import NOW, NewStore, new_credential

BEGIN = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"


@pytest.fixture(params=[open_reader, open_writer])
def connection(request: pytest.FixtureRequest, database: Path) -> Iterator[Connection]:
    """A connection of each engine."""
    file = PinnedFile(database)
    engine = request.param(file, busy_timeout=0.75, pool_size=1)
    try:
        with engine.connect() as connected:
            yield connected
    finally:
        engine.dispose()
        file.close()


@contextmanager
def writing(database: Path) -> Iterator[sqlite3.Connection]:
    """Another connection to the database, in the middle of a write."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("journal_mode", "wal"),
        ("busy_timeout", 750),
        ("wal_autocheckpoint", 0),
    ],
)
def test_the_pragmas_of_a_connection(connection: Connection, pragma: str, value: object) -> None:
    assert connection.execute(text(f"PRAGMA {pragma}")).scalar_one() == value


def test_the_store_writes_with_synchronous_full_and_begin_immediate(
    store: Store, database: Path
) -> None:
    """The statements and settings of the store's own connections, as seen by SQLite."""
    statements: list[str] = []
    with connections_of(store)._writer.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        assert driver.execute("PRAGMA synchronous").fetchone() == (2,)
        driver.set_trace_callback(statements.append)
        connection.rollback()
    statements.clear()
    add(store, new_credential())
    assert statements[0] == "BEGIN IMMEDIATE"
    assert statements[1].startswith("SELECT account.number")
    assert statements[2].startswith("INSERT INTO credential")
    assert statements[3].startswith("INSERT INTO invalidation")
    assert statements[4].startswith("SELECT audit.number, audit.mac")
    assert statements[5].startswith("INSERT INTO audit")
    assert statements[6:] == ["COMMIT"]


def test_a_second_writer_waits_for_the_first_and_loses_nothing(new_store: NewStore) -> None:
    stores = [new_store(write_timeout=30.0) for _ in range(2)]
    start = threading.Barrier(4)

    def add_some(store: Store) -> list[int]:
        start.wait()
        return [add(store, new_credential()).id for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        ids = [
            future.result() for future in [pool.submit(add_some, stores[n % 2]) for n in range(4)]
        ]
    assert sorted(itertools.chain(*ids)) == list(range(1, 81))


def test_a_writer_fails_before_it_has_read_anything(new_store: NewStore, database: Path) -> None:
    store = new_store(write_timeout=0.05)
    added = add(store, new_credential())
    with writing(database) as other:
        with pytest.raises(StoreError, match="database is locked"):
            add(store, new_credential())
        with pytest.raises(StoreError, match="database is locked"):
            revoke(store, added.api_key, NOW)
        other.execute("ROLLBACK")
    revoke(store, added.api_key, NOW)
    assert add(store, new_credential()).id == 2


def test_a_reader_sees_the_latest_commit_immediately(store: Store, database: Path) -> None:
    added = add(store, new_credential())
    for number in range(20):
        with writing(database) as other:
            other.execute("UPDATE credential SET name = ?", [str(number)])
            before = store.find(added.api_key)
            other.execute("COMMIT")
        after = store.find(added.api_key)
        assert before is not None
        assert after is not None
        assert (before.name, after.name) == (str(number - 1) if number else "test", str(number))


def test_reads_leave_no_open_statement(store: Store, database: Path) -> None:
    added = [add(store, new_credential()) for _ in range(3)]
    reads: list[Callable[[], object]] = [
        lambda: store.find(added[0].api_key),
        lambda: store.find("ak_unknown"),
        lambda: store.page(None, 1, None),
        lambda: store.count("live"),
        store.check,
    ]
    for read in reads:
        read()
        # While a reader holds its snapshot, the log could not be truncated.
        with closing(sqlite3.connect(database, timeout=0)) as other:
            other.execute("UPDATE credential SET name = 'changed'")
            other.commit()
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def test_connections_are_reused(store: Store, database: Path) -> None:
    store.find(add(store, new_credential()).api_key)
    store.page(None, 10, None)
    before = open_files(os.getpid(), database)
    for _ in range(20):
        store.find(add(store, new_credential()).api_key)
        store.page(None, 10, None)
    assert open_files(os.getpid(), database) == before


def test_nothing_is_open_before_the_first_use_or_after_closing(
    new_store: NewStore, database: Path
) -> None:
    store = new_store()
    assert open_files(os.getpid(), database) == []
    store.check()
    assert str(database) in open_files(os.getpid(), database)
    store.close()
    assert open_files(os.getpid(), database) == []
    store.check()


def test_more_threads_than_connections_wait_for_each_other(new_store: NewStore) -> None:
    store = new_store(pool_size=1, lookup_timeout=10.0, write_timeout=30.0)
    added = add(store, new_credential())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store.find, [added.api_key] * 200))
    assert found == [added] * 200


def test_a_file_that_disappears_at_the_last_moment_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"latchkey\.db: No such file or directory"):
        _open_connection(tmp_path / "latchkey.db", 0.1)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_never_created(tmp_path: Path) -> None:
    path = tmp_path / "latchkey.db"
    with closing(database_at(f"sqlite:///{path}").open_store()) as store:
        for use in every_use(store):
            with pytest.raises(StoreError, match="cannot find the database file"):
                use()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disappeared_is_never_created_again(store: Store, database: Path) -> None:
    store.find(add(store, new_credential()).api_key)
    database.unlink()
    for use in every_use(store):
        with pytest.raises(StoreError):
            use()
    assert not database.exists()


def every_use(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.find("ak"),
        lambda: store.verifier("ak"),
        lambda: store.imported.verifier(bytes(32)),
        lambda: store.page(None, 10, None),
        lambda: add(store, new_credential()),
        lambda: revoke(store, "ak", NOW),
        lambda: store.count("live"),
        store.check,
    ]


def break_by_garbage(database: Path) -> None:
    database.write_bytes(b"This is no database. " * 1000)


def break_by_another_schema(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE credential RENAME TO another")


def break_by_a_directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


def break_by_a_pipe(database: Path) -> None:
    database.unlink()
    os.mkfifo(database)


def break_by_a_link_to_itself(database: Path) -> None:
    database.unlink()
    database.symlink_to(database)


@pytest.mark.parametrize(
    "damage",
    [
        break_by_garbage,
        break_by_another_schema,
        break_by_a_directory,
        break_by_a_pipe,
        break_by_a_link_to_itself,
    ],
)
def test_every_failure_is_a_store_error(database: Path, damage: Callable[[Path], None]) -> None:
    damage(database)
    with closing(open_store(f"sqlite:///{database}")) as store:
        for use in every_use(store):
            with pytest.raises(StoreError):
                use()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("created_at", "soon"),
        ("expires_at", "never"),
        ("created_at", 2**62),
        ("expires_at", 2**62),
        ("secret_hash", "text"),
        ("secret_hash", b"short"),
    ],
)
def test_a_row_that_cannot_be_read_is_a_store_error(
    store: Store, database: Path, column: str, value: object
) -> None:
    added = add(store, new_credential())
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"UPDATE credential SET {column} = ?", [value])
    with pytest.raises(StoreError):
        store.find(added.api_key)
    with pytest.raises(StoreError):
        store.page(None, 10, None)
    # A check does not read the creation time.
    if column != "created_at":
        with pytest.raises(StoreError):
            store.verifier(added.api_key)


def test_errors_do_not_show_bound_values(new_store: NewStore, database: Path) -> None:
    store = new_store(write_timeout=0.05)
    new = new_credential(name="bound to be hidden", secret_hash=b"hidden hash".ljust(32))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON credential "
            "BEGIN SELECT json_extract('{', '$'); END"
        )
    with pytest.raises(StoreError) as caught:
        add(store, new)
    error: BaseException | None = caught.value
    told = ""
    while error is not None:
        told += f"{error} {error!r} {error.args} "
        error = error.__cause__ or error.__context__
    assert "malformed JSON" in told
    for hidden in (new.api_key, "bound to be hidden", "hidden hash"):
        assert hidden not in told


@pytest.mark.parametrize(
    "url",
    [
        "",
        "latchkey.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:latchkey.db",
        "sqlite:///latchkey.db?mode=ro",
        "sqlite:////srv/latchkey.db?",
        "sqlite:////srv/a%00b.db",
        "postgresql://user:confidential@host/latchkey",
        "mysql:///latchkey",
        "sqlite+aiosqlite:///latchkey.db",
        "sqlite://host/latchkey.db",
    ],
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^LATCHKEY_DATABASE_URL ") as caught:
        database_path(url)
    assert "confidential" not in str(caught.value)
    assert "\n" not in str(caught.value)


NAMES = ["a b", "my%20app", "50%", "a?b", "a#b", "it's", 'say "so"', "é\u65e5", "a&b=c;d", "file:x"]
# Not text in any encoding.
NAMES.append(os.fsdecode(b"\xff\xfe"))


@pytest.mark.parametrize("name", NAMES)
def test_a_path_may_have_any_characters(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / f"{name}.db"
    path.parent.mkdir()
    assert database_path(database_url(path)) == path
    new_database(path)
    migrate(database_url(path))
    copy = path.with_name(f"{name} copy.db")
    back_up(path, copy)
    check_backup(copy)
    with closing(database_at(database_url(path)).open_store(seal=new_seal(path))) as store:
        add(store, new_credential())
        assert store.count("live") == 1
    with closing(database_at(database_url(copy)).open_store()) as store:
        assert store.count("live") == 0
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_working_directory_may_have_any_characters(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert database_path("sqlite:///data/latchkey.db") == tmp_path / name / "data" / "latchkey.db"


def test_two_slashes_at_the_beginning_of_a_path_are_no_host(tmp_path: Path) -> None:
    new_database(tmp_path / "latchkey.db")
    with closing(database_at(f"sqlite:////{tmp_path}/latchkey.db").open_store()) as store:
        assert store.count("live") == 0
