"""Connections to PostgreSQL: lost ones, passwords, a pooler, servers that do not answer."""

from __future__ import annotations

import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow
from sqlalchemy import Connection

from latchkey.config import load_settings
from latchkey.credentials.limits import quota_limit
from latchkey.errors import ConfigurationError, StoreError
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_at, database_of
from latchkey.store.postgresql.connections import PostgresqlConnections
from latchkey.store.postgresql.location import location_of
from latchkey.store.postgresql.migrate import migrate
from latchkey.store.protocols import BEHIND_POOLER, Confirmation, NewBox, Store
from tests.support.audited import add, new_seal, revoke
from tests.support.faults.service_processes import wait_until
from tests.support.ports import free_port
from tests.support.postgresql import USER, Postgresql, started
from tests.support.store.new_credentials import NOW, new_credential


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return new_seal(tmp_path / "latchkey.db")


def works(store: Store) -> bool:
    """Whether reads, lookups and changes work."""
    with suppress(StoreError):
        added = add(store, new_credential())
        revoke(store, added.api_key, NOW)
        found = store.verifier(added.api_key)
        return found is not None and found.revoked and store.count("live") > 0
    return False


def test_ended_connections_are_replaced(
    postgresql: Postgresql, postgresql_url: str, seal: Seal
) -> None:
    """No request fails: an idle connection that has ended is found before it is used."""
    name = postgresql_url.rpartition("/")[2]
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    with closing(database_at(postgresql_url).open_store(seal=seal)) as store:
        for _ in range(3):
            assert works(store)
            assert postgresql.end_connections(name) >= 3
            # Each process says so before it is gone.
            wait_until(lambda: postgresql.execute(count, name) == [(0,)], "their ends")


def test_a_connection_that_ends_within_a_transaction_is_named(
    postgresql: Postgresql, postgresql_url: str
) -> None:
    name = postgresql_url.rpartition("/")[2]
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    connections = PostgresqlConnections(
        location_of(postgresql_url), pool_size=1, lookup_timeout=5, write_timeout=5
    )

    def lose(opened: Callable[[], AbstractContextManager[Connection]]) -> None:
        with opened() as connection:
            connection.exec_driver_sql("SELECT 1")
            assert postgresql.end_connections(name) == 1
            wait_until(lambda: postgresql.execute(count, name) == [(0,)], "its end")
            connection.exec_driver_sql("SELECT 1")

    with closing(connections):
        for opened in (connections.writing, connections.updating_boxes):
            with pytest.raises(StoreError) as raised:
                lose(opened)
            # Not SQLAlchemy's own error, PendingRollbackError.
            assert "terminating connection" in raised.value.detail
            with opened() as connection:
                connection.exec_driver_sql("SELECT 1")


def test_a_lookup_that_the_server_ends_fails_alone(
    postgresql: Postgresql, postgresql_url: str, seal: Seal
) -> None:
    """The next one works: after a lock of the table, and after a column was changed."""
    opened = database_at(postgresql_url).open_store(seal=seal, lookup_timeout=0.3)
    with closing(opened) as store:
        added = add(store, new_credential())
        assert store.verifier(added.api_key) is not None
        with postgresql.connect(postgresql_url.rpartition("/")[2]) as other, other.transaction():
            other.execute("LOCK TABLE credential IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreError) as raised:
                store.verifier(added.api_key)
            assert "statement timeout" in raised.value.detail
        assert store.verifier(added.api_key) is not None
        with postgresql.connect(postgresql_url.rpartition("/")[2]) as other:
            other.execute("ALTER TABLE credential ALTER COLUMN name TYPE varchar(200)")
        # A prepared statement may no longer fit the table, so one lookup may fail.
        with suppress(StoreError):
            store.verifier(added.api_key)
        found = store.verifier(added.api_key)
        assert found is not None
        assert found.principal.api_key == added.api_key


def test_a_lookup_compares_the_whole_key(postgresql_url: str, seal: Seal) -> None:
    """A character U+0000 does not end it, and text that is no ASCII is sent as it is."""
    with closing(database_at(postgresql_url).open_store(seal=seal)) as store:
        key = add(store, new_credential()).api_key
        for text in (f"{key}\0", f"{key}\0x", f"\0{key}", f"{key}é", key[:-1], ""):
            assert store.verifier(text) is None
        assert store.verifier(key) is not None


def test_a_restarted_server_is_found_again(tmp_path: Path, seal: Seal) -> None:
    with started() as server:
        url = server.url(server.new_migrated_database())
        with closing(database_at(url).open_store(seal=seal)) as store:
            for how in (signal.SIGINT, signal.SIGQUIT):
                assert works(store)
                server.stop(how)
                for _ in range(3):
                    assert not works(store)
                server.start()
                wait_until(lambda: works(store), "the server")


def test_a_server_that_does_not_answer(seal: Seal) -> None:
    """Its processes are stopped, so the kernel accepts connections and data."""
    with started() as server:
        name = server.new_migrated_database()
        opened = database_at(server.url(name)).open_store(
            seal=seal, lookup_timeout=0.3, write_timeout=2.0
        )
        with closing(opened) as store:
            wait_until(lambda: works(store), "the server")
            pids = [server.pid]
            pids += [pid for (pid,) in server.execute("SELECT pid FROM pg_stat_activity")]
            stop = ["kill", "-STOP", *map(str, pids)]
            subprocess.run(stop, check=False)
            try:
                for _ in range(2):
                    assert not works(store)
                    with pytest.raises(StoreError):
                        store.verifier(new_credential().api_key)
            finally:
                subprocess.run(["kill", "-CONT", *map(str, pids)], check=False)
            wait_until(lambda: works(store), "the server")


def test_a_lost_synchronous_standby_delays_a_change_for_a_while_only(seal: Seal) -> None:
    """A commit that no standby confirms is an error, and the next change has its turn.

    The standby may be the primary already, so no box may renew its lease here.
    """
    with started() as server:
        url = server.url(server.new_migrated_database())
        opened = database_at(url).open_store(seal=seal, write_timeout=2.0)
        with closing(opened) as store:
            wait_until(lambda: works(store), "the server")
            assert store.boxes is not None
            store.boxes.register(NewBox("1", "box", "1", "1", (), 1, 5_000, 0, NOW))
            assert store.boxes.confirm("1", 0, 0, 5_000) is Confirmation.MADE
            server.execute("ALTER SYSTEM SET synchronous_standby_names = 'missing'")
            server.reload()
            setting = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'"
            wait_until(lambda: server.execute(setting) == [("missing",)], "the setting")
            for _ in range(2):
                with pytest.raises(StoreError):
                    add(store, new_credential())
                with pytest.raises(StoreError):
                    store.boxes.confirm("1", 0, 0, 5_000)
            server.execute("ALTER SYSTEM RESET synchronous_standby_names")
            server.reload()
            wait_until(lambda: works(store), "commits without a standby")


def test_a_reservation_waits_for_no_change(postgresql_url: str, seal: Seal) -> None:
    database = database_at(postgresql_url)
    with closing(database.open_store(seal=seal)) as store:
        monthly = quota_limit("monthly", 1000, "month")
        (limit,) = add(store, new_credential(limits=(monthly,))).limits
        connections = PostgresqlConnections(
            location_of(postgresql_url), pool_size=1, lookup_timeout=5, write_timeout=5
        )
        with closing(connections), connections.writing():
            made = store.limits.reserve(limit.id, "5" * 32, 1, NOW)
            assert made is not None
            assert made.suffices
            store.limits.give_back(limit.id, made.epoch, "5" * 32, 0)


def test_passwords_are_in_no_error_and_no_list_of_processes(tmp_path: Path) -> None:
    with started(password_encryption="scram-sha-256") as server:
        name = server.new_migrated_database()
        server.execute(f"ALTER ROLE {USER} PASSWORD 'the right one'")
        server.allow("local all all trust", "host all all 127.0.0.1/32 scram-sha-256")
        server.reload()
        refused = database_at(server.url(name, password="the%20wrong%20one"))

        def is_refused() -> bool:
            with suppress(ConfigurationError):
                return not refused.exists()
            return True

        wait_until(is_refused, "the new rules")
        for call in (refused.exists, refused.require, refused.prepare, refused.open_store().check):
            with pytest.raises((ConfigurationError, StoreError)) as raised:
                call()
            assert "the wrong one" not in repr(raised.value)
            assert "password authentication failed" in str(raised.value)
        file = tmp_path / "password"
        file.write_text("the wrong one\n")
        file.chmod(0o600)
        given = {
            "LATCHKEY_DATABASE_URL": server.url(name),
            "LATCHKEY_DATABASE_PASSWORD_FILE": str(file),
        }
        database = database_of(load_settings(given))
        with closing(database.open_store()) as store:
            with pytest.raises(StoreError):
                store.check()
            # A new password takes effect without a restart.
            file.write_text("the right one\n")
            wait_until(lambda: can_read(store), "the new password")
        assert database.exists()


def can_read(store: Store) -> bool:
    """Whether a query works."""
    with suppress(StoreError):
        store.check()
        return True
    return False


def test_a_standby_is_not_used(seal: Seal) -> None:
    with started() as primary:
        name = primary.new_migrated_database()
        with primary.standby() as standby:
            with pytest.raises(ConfigurationError, match="LATCHKEY_DATABASE_URL"):
                database_at(standby.url(name)).exists()
            both = f"{USER}@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/{name}"
            with closing(database_at(f"postgresql+psycopg://{both}").open_store(seal=seal)) as one:
                wait_until(lambda: works(one), "the primary")
                primary.stop()
                standby.promote()
                wait_until(lambda: works(one), "the former standby")


@contextmanager
def pooler_of(server: Postgresql, directory: Path) -> Iterator[int]:
    """The port of a pgbouncer in transaction mode, in front of a server."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    port = free_port()
    file = directory / "pgbouncer.ini"
    file.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user={USER}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    directory.chmod(0o755)
    file.chmod(0o644)
    process = subprocess.Popen(
        [program, *(["--user=nobody"]), str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def accepts() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_until(accepts, "pgbouncer")
        yield port
    finally:
        process.terminate()
        process.wait()


def test_a_pooler_in_transaction_mode(postgresql: Postgresql, tmp_path: Path, seal: Seal) -> None:
    """Two of its processes serve more connections, so nothing may be left in a session."""
    name = postgresql.new_database()
    with pooler_of(postgresql, tmp_path) as port:
        url = f"postgresql+psycopg://{USER}@127.0.0.1:{port}/{name}"
        report = migrate(location_of(url).conninfo())
        assert BEHIND_POOLER in report.warnings
        with closing(database_at(url).open_store(seal=seal)) as store:
            stores = [database_at(url).open_store(seal=seal) for _ in range(4)]
            for _ in range(8):
                for one in (store, *stores):
                    assert works(one)
            for one in stores:
                one.close()
            assert store.boxes is not None
            assert store.boxes.is_pooled()
            assert store.boxes.open_wakeups() is None
    postgresql.drop_database(name)


def test_notifications_arrive(postgresql: Postgresql, postgresql_url: str, seal: Seal) -> None:
    with closing(database_at(postgresql_url).open_store(seal=seal)) as store:
        assert store.boxes is not None
        assert not store.boxes.is_pooled()
        wakeups = store.boxes.open_wakeups()
        assert wakeups is not None
        assert not wakeups.wait(0)
        add(store, new_credential())
        assert wakeups.wait(60)
        # The upkeep wakes nobody.
        store.usage.forget_other_segments(None)
        assert not wakeups.wait(0)
        postgresql.end_connections(postgresql_url.rpartition("/")[2])
        with pytest.raises(StoreError) as raised:
            wakeups.wait(60)
        # It is logged in one line; the driver's own text has several.
        assert len(raised.value.detail.splitlines()) == 1


def is_ended(connection: psycopg.Connection[TupleRow]) -> bool:
    """Whether the server has ended a session; nothing is sent."""
    return bool(select.select([connection.fileno()], [], [], 0)[0])


def test_a_limit_for_idle_sessions_does_not_end_notifications(
    postgresql: Postgresql, postgresql_url: str, seal: Seal
) -> None:
    """The connection is idle while nothing changes. Others are replaced when they are used."""
    name = postgresql_url.rpartition("/")[2]
    postgresql.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1s'")
    with closing(database_at(postgresql_url).open_store(seal=seal)) as store:
        assert store.boxes is not None
        wakeups = store.boxes.open_wakeups()
        assert wakeups is not None
        # A session that was opened later has been ended.
        with closing(postgresql.connect(name)) as other:
            wait_until(lambda: is_ended(other), "the end of an idle session")
        assert works(store)
        assert wakeups.wait(60)
        wakeups.close()
