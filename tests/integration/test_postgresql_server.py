"""The PostgreSQL of the tests: databases, restarts, ended connections and a standby."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.faults.service_processes import wait_until
from tests.support.postgresql import USER, Postgresql, started


def test_each_database_is_a_copy_of_its_own(postgresql: Postgresql) -> None:
    first = postgresql.new_database()
    postgresql.execute("CREATE TABLE kept (number integer)", database=first)
    second = postgresql.new_database(template=first)
    postgresql.execute("INSERT INTO kept VALUES (1)", database=second)
    assert postgresql.execute("SELECT * FROM kept", database=first) == []
    assert postgresql.execute("SELECT * FROM kept", database=second) == [(1,)]
    for name in (first, second):
        postgresql.drop_database(name)


def test_connections_can_be_ended(postgresql: Postgresql) -> None:
    name = postgresql.new_database()
    with postgresql.connect(name) as held:
        assert postgresql.end_connections(name) == 1
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
    postgresql.drop_database(name)


def test_a_restart_keeps_the_port_and_a_standby_takes_over() -> None:
    with started() as primary:
        name = primary.new_database()
        primary.execute("CREATE TABLE kept (number integer)", database=name)
        port = primary.port
        primary.restart()
        assert primary.port == port
        with primary.standby() as standby:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            primary.reload()
            replicated = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            wait_until(lambda: primary.execute(replicated) == [(1,)], "the synchronous standby")
            primary.execute("INSERT INTO kept VALUES (1)", database=name)
            primary.stop()
            standby.promote()
            assert standby.execute("SELECT * FROM kept", database=name) == [(1,)]
            standby.execute("INSERT INTO kept VALUES (2)", database=name)


def test_a_password_is_asked_for_where_it_is_configured() -> None:
    with started(password_encryption="scram-sha-256") as server:
        server.execute(f"ALTER ROLE {USER} PASSWORD 'the right one'")
        server.allow("local all all trust", "host all all 127.0.0.1/32 scram-sha-256")
        server.reload()
        address = f"host=127.0.0.1 port={server.port} user={USER} dbname=postgres"

        def is_refused() -> bool:
            try:
                psycopg.connect(address, password="a wrong one").close()
            except psycopg.OperationalError:
                return True
            return False

        wait_until(is_refused, "the new rules")
        psycopg.connect(address, password="the right one").close()
