"""Flask, Django, FastAPI, Starlette and a plain application behind each server, as users run them.

All servers run at the same time, over one database and one segment of shared memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.faults.service_processes import wait_until
from tests.support.servers.running import COMMANDS, Load, Running, running_servers


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("servers")
    with running_servers(directory) as running:
        yield running
    for server in COMMANDS:
        assert "Latchkey was built before a fork" not in running.log(server)


@pytest.mark.parametrize("server", COMMANDS)
def test_a_server_serves(running: Running, server: str) -> None:
    pair = running.box.create_key()
    for path in [path for one, path in running.places if one == server]:
        refused = running.get(server, f"{path}/orders")
        assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"] == 'Bearer realm="latchkey"'
        for headers in (pair.bearer, pair.headers) * 3:
            answer = running.get(server, f"{path}/orders", headers)
            assert (answer.status, answer.json["key"]) == (200, pair.api_key)
        assert running.get(server, f"{path}/nowhere").status == (
            # FastAPI is protected in some parts only.
            404 if (server, path) == ("uvicorn", "") else 401
        )
        assert running.get(server, f"{path}/nowhere", pair.bearer).status == 404
        assert running.get(server, f"{path}/health").status == 200


def test_a_revocation_under_load_has_no_late_success(
    running: Running, request: pytest.FixtureRequest
) -> None:
    rounds = 50 if request.config.option.long else 2
    for _ in range(rounds):
        pair = running.box.create_key()
        loads = {
            (server, path): Load(running.ports[server], f"{path}/orders", pair.bearer)
            for server, path in running.places
        }
        for load in loads.values():
            load.start()
        try:
            for load in loads.values():
                wait_until(partial(load.has_gone_on, 0.0), "answers before the revocation")
            running.box._prepare("keys", "revoke", "--yes", pair.api_key)
            revoked = time.monotonic()
            for load in loads.values():
                wait_until(partial(load.has_gone_on, revoked), "answers after the revocation")
        finally:
            for load in loads.values():
                load.end()
        for place, load in loads.items():
            assert set(load.after(revoked)) == {401}, place
            assert {status for _, status in load.answers} <= {200, 401}, place


def test_a_preloaded_application_joins_in_each_worker(running: Running) -> None:
    server = "gunicorn --preload"
    pair = running.box.create_key()
    processes = set()

    def both_answered() -> bool:
        processes.add(running.get(server, "/orders", pair.bearer).json["process"])
        return len(processes) == 2

    wait_until(both_answered, "both workers")
    assert running.processes[server].pid not in processes


def test_the_reloader_starts_a_process_that_serves(running: Running) -> None:
    server = "flask run --debug"
    pair = running.box.create_key()
    before = running.get(server, "/orders", pair.bearer).json["process"]
    site = running.directory / "site_flask.py"
    written = 0.0

    def reloaded() -> bool:
        nonlocal written
        # The reloader compares with its first look, which may come after a change.
        if time.monotonic() > written + 10:
            written = time.monotonic()
            site.write_text(f"{site.read_text()}\n")
        try:
            answer = running.get(server, "/orders", pair.bearer)
        except OSError:
            return False
        assert answer.status == 200
        return bool(answer.json["process"] != before)

    wait_until(reloaded, "the reloaded process", 0.1)
    assert running.get(server, "/orders").status == 401
    running.box._prepare("keys", "revoke", "--yes", pair.api_key)
    assert running.get(server, "/orders", pair.bearer).status == 401


def dial(running: Running, headers: dict[str, str]) -> ClientConnection:
    url = f"ws://127.0.0.1:{running.ports['uvicorn']}/ws"
    return connect(url, additional_headers=headers, open_timeout=60, proxy=None)


def test_a_websocket_is_checked_at_the_handshake(running: Running) -> None:
    box = running.box
    for headers, status, code in (
        ({}, 401, "UNAUTHORIZED"),
        (box.create_key("live", "--scope", "invoices:read").bearer, 403, "insufficient_scope"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            dial(running, headers)
        response = refused.value.response
        assert response.status_code == status
        assert json.loads(response.body or b"")["error"]["code"] == code
    pair = box.create_key("live", "--scope", "orders:read")
    with dial(running, pair.bearer) as connection:
        connection.send("one")
        assert connection.recv(60) == f"one {pair.api_key} True"
        box._prepare("keys", "revoke", "--yes", pair.api_key)
        # The connection stays open; the application can ask.
        connection.send("two")
        assert connection.recv(60) == f"two {pair.api_key} False"
        connection.send("end")
    with pytest.raises(InvalidStatus):
        dial(running, pair.bearer)


def test_a_stream_is_checked_at_its_start(running: Running, tmp_path: Path) -> None:
    pair = running.box.create_key("live", "--scope", "orders:read")
    connection = HTTPConnection("127.0.0.1", running.ports["uvicorn"], timeout=60)
    connection.request("GET", f"/stream?go_on={tmp_path}/go", headers=pair.bearer)
    answer = connection.getresponse()
    assert (answer.status, answer.read(5)) == (200, b"first")
    running.box._prepare("keys", "revoke", "--yes", pair.api_key)
    (tmp_path / "go").touch()
    assert answer.read() == b"last"
    connection.close()
    assert running.get("uvicorn", "/stream?go_on=x", pair.bearer).status == 401
