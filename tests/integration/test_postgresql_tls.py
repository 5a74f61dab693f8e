"""Connections to PostgreSQL with TLS, and how they notice a lost server, as their URL says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from latchkey.errors import ConfigurationError
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_at
from latchkey.store.postgresql.connecting import Connector, Waits
from latchkey.store.postgresql.location import location_of
from tests.support.audited import add, new_seal, revoke
from tests.support.certificates import Authority
from tests.support.faults.service_processes import wait_until
from tests.support.postgresql import USER, Postgresql, started
from tests.support.store.new_credentials import NOW, new_credential

HOST = "db.example.com"
PASSWORD = "a password of the test"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("the authority of the server")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Postgresql]:
    """A server that accepts connections by TCP with TLS and a password only."""
    with started(password_encryption="scram-sha-256") as server:
        server.execute(f"ALTER ROLE {USER} PASSWORD '{PASSWORD}'")
        server.require_tls(*authority.issue(HOST))
        yield server


@pytest.fixture
def name(server: Postgresql) -> Iterator[str]:
    name = server.new_database()
    yield name
    server.drop_database(name)


def url_of(server: Postgresql, name: str, host: str = HOST, **parameters: str) -> str:
    """The URL of a database at a host name, which is not looked up."""
    given = {"hostaddr": "127.0.0.1", **parameters}
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in given.items())
    password = quote(PASSWORD, safe="")
    return f"postgresql+psycopg://{USER}:{password}@{host}:{server.port}/{name}?{query}"


@pytest.fixture
def root(authority: Authority, tmp_path: Path) -> str:
    """The file of the authority's certificate."""
    file = tmp_path / "root.crt"
    file.write_bytes(authority.pem)
    return str(file)


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return new_seal(tmp_path / "latchkey.db")


def test_all_connections_are_encrypted(
    server: Postgresql, name: str, root: str, seal: Seal
) -> None:
    url = url_of(server, name, sslmode="verify-full", sslrootcert=root)
    database_at(url).prepare()
    assert database_at(url).exists()
    encrypted = (
        "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE datname = %s GROUP BY ssl"
    )
    with closing(database_at(url).open_store(seal=seal)) as store:
        assert store.boxes is not None
        wakeups = store.boxes.open_wakeups()
        assert wakeups is not None
        with closing(wakeups):
            for _ in range(3):
                added = add(store, new_credential())
                assert wakeups.wait(60)
                revoke(store, added.api_key, NOW)
                assert wakeups.wait(60)
                found = store.verifier(added.api_key)
                assert found is not None
                assert found.revoked
            # Of changes, reads, lookups and notifications.
            (row,) = server.execute(encrypted, name)
            assert row[0] is True
            assert row[1] >= 4
        # An idle connection that the server has closed is found with TLS too.
        server.end_connections(name)
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        wait_until(lambda: server.execute(count, name) == [(0,)], "their ends")
        assert store.verifier(new_credential().api_key) is None
        add(store, new_credential())


@pytest.mark.parametrize(
    ("host", "parameters", "reason"),
    [
        (HOST, {"sslmode": "disable"}, "no encryption"),
        (HOST, {"sslmode": "verify-full"}, "certificate verify failed"),
        (HOST, {"sslmode": "verify-ca"}, "certificate verify failed"),
        ("other.example.com", {"sslmode": "verify-full", "sslrootcert": ""}, "does not match"),
        (HOST, {"sslmode": "verify-full", "sslrootcert": "/missing"}, "does not exist"),
    ],
    ids=["no encryption", "another authority", "the same by CA", "another name", "no authority"],
)
def test_other_servers_are_refused(
    server: Postgresql,
    root: str,
    tmp_path: Path,
    host: str,
    parameters: dict[str, str],
    reason: str,
) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(Authority("another one").pem)
    given = {"sslrootcert": str(other), **parameters}
    given["sslrootcert"] = given["sslrootcert"] or root
    database = database_at(url_of(server, "postgres", host, **given))
    with pytest.raises(ConfigurationError, match=reason) as raised:
        database.exists()
    message = str(raised.value)
    assert "LATCHKEY_DATABASE_URL" in message
    assert PASSWORD not in message
    assert quote(PASSWORD) not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, (1, 5, 2, 3, 5_000)),
        (
            {"keepalives_idle": "7", "keepalives_count": "4", "tcp_user_timeout": "2500"},
            (1, 7, 2, 4, 2_500),
        ),
    ],
    ids=["by default", "as the URL says"],
)
def test_a_lost_server_is_noticed(
    server: Postgresql, name: str, root: str, parameters: dict[str, str], expected: tuple[int, ...]
) -> None:
    """The kernel probes idle connections, and limits how long sent data may stay unconfirmed."""
    url = url_of(server, name, sslmode="verify-full", sslrootcert=root, **parameters)
    database_at(url).prepare()
    with closing(Connector(location_of(url)).open(Waits(5))) as connection:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as own:
            tcp = socket.IPPROTO_TCP
            found = (
                own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                own.getsockopt(tcp, socket.TCP_KEEPIDLE),
                own.getsockopt(tcp, socket.TCP_KEEPINTVL),
                own.getsockopt(tcp, socket.TCP_KEEPCNT),
                own.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
            )
    assert found == expected
