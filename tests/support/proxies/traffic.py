"""Cases: methods, bodies, upgrades and streams, and failures."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.support.faults.service_processes import wait_until, workers
from tests.support.proxies.expectations import (
    Sites,
    assert_admitted,
    assert_refused,
    bearer,
)
from tests.support.proxies.programs import HOST
from tests.support.proxies.relay import Relay
from tests.support.proxies.site import Site, Visitor, exchange, head, read_answer
from tests.support.proxies.upstream import Upstream
from tests.support.service import Pair, Service

_MEGABYTE = 1 << 20


class Traffic(Sites):
    """Everything that passes, and what happens if Latchkey fails."""

    @pytest.mark.parametrize(
        "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]
    )
    def test_each_method(self, site: Site, key: Pair, method: str) -> None:
        received = assert_admitted(site.request(method, "/x", bearer(key), b"body"), key.api_key)
        assert (received.method, received.length) == (method, 4)
        assert_refused(site.request(method, "/x", body=b"body"), 401, "unauthorized")

    def test_head(self, site: Site, key: Pair, confined: Pair) -> None:
        answer = site.request("HEAD", "/x", bearer(key))
        assert (answer.status, answer.body, answer.passed.method) == (200, b"", "HEAD")
        for headers, status in (([], 401), (bearer(confined), 403)):
            answer = site.request("HEAD", "/x", headers)
            assert (answer.status, answer.body, answer.received) == (status, b"", ())

    def test_a_body_of_a_megabyte(self, site: Site, key: Pair) -> None:
        body = b"x" * _MEGABYTE
        answer = site.request("POST", "/upload", bearer(key), body)
        assert assert_admitted(answer, key.api_key).length == _MEGABYTE
        site.upstream.take()
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        named = [("Host", HOST), *bearer(key), ("Transfer-Encoding", "chunked")]
        with closing(site.connect()) as connection:
            connection.sendall(head("POST", "/upload", named) + chunk * 16 + b"0\r\n\r\n")
            assert read_answer(connection, "POST").status == 200
        (received,) = site.upstream.take()
        assert received.length == _MEGABYTE

    def test_an_answer_that_is_streamed(self, site: Site, key: Pair) -> None:
        """Its first part reaches the client while the application still works."""
        site.upstream.proceed.clear()
        with closing(site.connect()) as connection:
            connection.settimeout(30)
            connection.sendall(head("GET", "/stream", [("Host", HOST), *bearer(key)]))
            response = HTTPResponse(connection)
            response.begin()
            assert (response.status, response.readline()) == (200, b"first\n")
            site.upstream.proceed.set()
            assert response.read() == b"second\n"

    def test_a_websocket(self, site: Site, key: Pair) -> None:
        """Headers of the upgrade reach the application, and disturb no check (caddy#5430)."""
        upgrade = [
            ("Host", HOST),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        site.upstream.take()
        with closing(site.connect()) as connection:
            refused = exchange(connection, "GET", "/socket", upgrade)
        assert (refused.status, refused.code, site.upstream.take()) == (401, "UNAUTHORIZED", [])
        with closing(site.connect()) as connection:
            connection.settimeout(30)
            connection.sendall(head("GET", "/socket", [*upgrade, *bearer(key)]))
            response = HTTPResponse(connection)
            response.begin()
            assert response.status == 101
            assert response.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            connection.sendall(b"to and fro")
            assert _received(connection, 10) == b"to and fro"
        (received,) = site.upstream.take()
        assert received.value("X-Latchkey-Key") == key.api_key

    def test_too_many_failures(self, needing: Site) -> None:
        """429 keeps its status (nginx#941, ingress-nginx#12944), and good keys still work."""
        wrong = [("Authorization", "Bearer nonsense")]
        wait_until(
            lambda: needing.request("GET", "/", wrong).status != 401, "the limit of failures"
        )
        answer = needing.request("GET", "/", wrong)
        assert_refused(answer, 429, "too_many_failures")
        assert int(answer.headers["Retry-After"]) > 0
        good = needing.service.issue(scopes=["orders:read"])
        assert_admitted(needing.request("GET", "/", bearer(good)), good.api_key)

    def test_the_database_fails(self, site: Site, served: Service, key: Pair) -> None:
        cold = served.issue()
        assert site.request("GET", "/", bearer(key)).status == 200
        with database_gone(served):
            failed = site.request("GET", "/", bearer(cold))
            assert (failed.status, failed.received) == (self.outcomes.failed, ())
            assert failed.code.lower() in ("internal_error", "unavailable")
        wait_until(lambda: site.request("GET", "/", bearer(cold)).status == 200, "the recovery")

    def test_connections_to_latchkey_are_kept(
        self, tmp_path: Path, served: Service, upstream: Upstream, key: Pair
    ) -> None:
        if self.program.path is None:
            pytest.skip(f"needs {self.program.name}")
        with (
            Relay(served.port) as relay,
            Site(self.program, tmp_path / "site", served, upstream, port=relay.port) as site,
            closing(Visitor(site)) as visitor,
        ):
            before = relay.connections
            assert {visitor.get(bearer(key)).status for _ in range(40)} == {200}
            # Threads of a proxy may have a connection each.
            assert relay.connections - before <= 2

    def test_latchkey_is_stopped(self, site: Site, served: Service, key: Pair) -> None:
        assert_admitted(site.request("GET", "/", bearer(key)), key.api_key)
        served.stop()
        try:
            for headers in ([], bearer(key)):
                answer = site.request("GET", "/", headers)
                assert (answer.status, answer.received) == (self.outcomes.stopped, ())
                if self.outcomes.has_envelope:
                    assert answer.code == "UNAVAILABLE"
                    assert answer.headers["Content-Type"] == "application/json"
        finally:
            served.start()
        assert_admitted(site.request("GET", "/", bearer(key)), key.api_key)

    def test_a_reload_under_load(self, site: Site, served: Service, key: Pair) -> None:
        """No request fails while the workers are replaced."""
        before = set(workers(served))
        with load(site, key) as statuses:
            wait_until(lambda: len(statuses) >= 20, "the load")
            assert served.process is not None
            served.process.send_signal(signal.SIGHUP)
            wait_until(lambda: before.isdisjoint(workers(served)), "new workers")
            seen = len(statuses)
            wait_until(lambda: len(statuses) >= seen + 20, "the load after the reload")
        assert set(statuses) == {200}


@contextmanager
def database_gone(service: Service) -> Iterator[None]:
    """Rename the directory of the database during the block."""
    directory = service.database.parent
    aside = directory.with_name("aside")
    directory.rename(aside)
    try:
        yield
    finally:
        aside.rename(directory)


@contextmanager
def load(site: Site, pair: Pair, clients: int = 4) -> Iterator[list[int]]:
    """Send requests on several connections during the block; the list has the statuses so far."""
    statuses: list[int] = []
    ended = threading.Event()

    def run() -> None:
        with closing(Visitor(site)) as visitor:
            while not ended.is_set():
                try:
                    statuses.append(visitor.get(bearer(pair)).status)
                except OSError:
                    statuses.append(0)
                    return

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)


def _received(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        assert part, received
        received += part
    return received
