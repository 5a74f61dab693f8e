"""Processes that are killed, restarted, reloaded and stopped while requests are in progress."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.faults.outage import derived
from tests.support.faults.service_processes import (
    is_alive,
    kill_all,
    master,
    open_files,
    other_process,
    wait_until,
    workers,
)
from tests.support.service import Answer, Service

pytestmark = pytest.mark.attack


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that these tests must leave running."""
    directory = tmp_path_factory.mktemp("processes")
    with Service(directory, LATCHKEY_FAILURE_LIMIT="off") as service:
        yield service


def test_no_connection_crosses_the_fork(running: Service) -> None:
    pair = running.issue()
    served: set[int] = set()
    while len(served) < 2:
        assert running.get("/v1/account", pair.bearer).status == 200
        served = {pid for pid in workers(running) if open_files(pid, running.database)}
    assert open_files(master(running), running.database) == []


def test_a_killed_worker_is_replaced(running: Service) -> None:
    pair = running.issue()
    before = set(workers(running))
    victim, survivor = sorted(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not is_alive(victim), "the worker's end")
    wait_until(lambda: len(workers(running)) == 2, "a new worker")
    assert survivor in workers(running)
    for _ in range(10):
        assert running.get("/v1/account", pair.bearer).status == 200
    assert running.issue().api_key


def test_acknowledged_changes_survive_the_death_of_every_process(running: Service) -> None:
    pair, revoked = derived(running), running.issue()
    body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
    issued = running.issue()
    path = f"/credentials/{revoked.api_key}"
    assert running.request("DELETE", path, revoked.headers).status == 200
    registered = running.request("POST", "/credentials", json_body=body)
    kill_all(running)
    assert registered.status == 201

    running.start()
    assert running.get("/v1/account", pair.bearer).status == 200
    assert running.get("/v1/account", issued.bearer).status == 200
    assert running.get("/v1/account", revoked.bearer).code == "key_revoked"


def test_sigterm_lets_a_request_in_flight_finish(running: Service) -> None:
    issuer = running.issue()
    running.stop()
    running.settings["LATCHKEY_WORKERS"] = "1"
    running.start()
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"

    def issue() -> Answer:
        return running.request("POST", "/v1/api_keys", issuer.bearer, json_body={"name": "late"})

    def authenticated() -> float:
        return running.metric("latchkey_requests_total", outcome="authenticated")

    with ThreadPoolExecutor(1) as pool:
        with other_process(hold, str(running.database)):
            late = pool.submit(issue)
            wait_until(lambda: authenticated() == 1, "the request to reach its view")
            os.kill(master(running), signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in running.log, "the signal to arrive")
            assert not late.done()
        answer = late.result()
    assert answer.status == 201
    assert running.process is not None
    assert running.process.wait(60) == 0
    assert running.command("keys", "show", answer.json["api_key"]).returncode == 0


def test_all_workers_use_the_same_derivation_keys(
    start_service: Callable[..., Service],
) -> None:
    """A change of the key file takes effect at the next HUP, for all workers at the same time."""
    service = start_service()
    pair = service.issue()
    key_file = Path(service.settings["LATCHKEY_DERIVATION_KEYS_FILE"])
    original = key_file.read_text()

    def replace_a_worker() -> None:
        victim = workers(service)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not is_alive(victim), "the worker's end")
        wait_until(lambda: len(workers(service)) == 2, "a new worker")

    def reload() -> None:
        before = set(workers(service))
        os.kill(master(service), signal.SIGHUP)
        wait_until(lambda: len(set(workers(service)) - before) == 2, "new workers")
        wait_until(lambda: not before & set(workers(service)), "the end of the old ones")

    key_file.write_text("ab" * 32 + "\n")
    replace_a_worker()
    assert {service.get("/v1/account", pair.bearer).status for _ in range(12)} == {200}

    key_file.write_text("not a key\n")
    replace_a_worker()
    reload()
    assert {service.get("/v1/account", pair.bearer).status for _ in range(12)} == {200}
    assert "the key files were not reloaded" in service.log
    assert "not a key" not in service.log

    key_file.write_text("ab" * 32 + "\n")
    reload()
    assert {service.get("/v1/account", pair.bearer).status for _ in range(12)} == {401}
    assert "active credentials, because their derivation keys are not listed" in service.log

    key_file.write_text(original)
    reload()
    assert service.get("/v1/account", pair.bearer).status == 200


def test_a_slow_client_is_disconnected(start_service: Callable[..., Service]) -> None:
    """Clients that block every thread with half of a header or body are disconnected."""
    service = start_service(
        LATCHKEY_WORKERS="1", LATCHKEY_THREADS="2", LATCHKEY_REQUEST_TIMEOUT="2"
    )
    halves = (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /credentials HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{",
    )
    for half in halves:
        with ExitStack() as held:
            for _ in range(2):
                client = held.enter_context(
                    socket.create_connection(("127.0.0.1", service.port), timeout=60)
                )
                client.sendall(half)
            assert service.get("/health").status == 200
