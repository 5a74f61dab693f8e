"""Shared memory is unavailable: several workers do not start, one runs without it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.faults import disk
from tests.support.faults.load import under_load
from tests.support.faults.service_processes import (
    alone,
    is_alive,
    master,
    wait_until,
    workers,
)
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack

NO_MOUNTS = (
    "needs the permission to mount a tmpfs (root with CAP_SYS_ADMIN), which there is not here"
)
LIMIT = 6 << 20
"""The maximum size of a file: enough for a database, not for a segment."""


@pytest.fixture(params=["tmpfs"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Creates a service whose directory for memory is full, in two ways; it is not started."""
    with ExitStack() as undo:
        memory = tmp_path / "memory"
        memory.mkdir()
        if request.param == "tmpfs":
            if not disk.can_mount():
                pytest.skip(NO_MOUNTS)
            undo.enter_context(disk.mounted(memory))

        def make(**settings: str) -> Service:
            directory = tmp_path / "service"
            directory.mkdir()
            service = Service(
                directory, unprivileged=False, LATCHKEY_SHARED_MEMORY=str(memory), **settings
            )
            if request.param == "limit":
                service.prefix = ["prlimit", f"--fsize={LIMIT}"]
            undo.callback(service.stop)
            return service

        yield make
        assert [path for path in memory.iterdir() if path.name.startswith("latchkey")] == []


@pytest.mark.parametrize("full", ["tmpfs", "limit"], indirect=True)
def test_several_workers_do_not_start(full: Callable[..., Service]) -> None:
    service = full(LATCHKEY_WORKERS="2")
    with pytest.raises(
        RuntimeError, match="several workers need shared memory, which is unavailable"
    ):
        service.start()


def test_one_worker_serves_without_shared_memory(full: Callable[..., Service]) -> None:
    service = full(LATCHKEY_WORKERS="1")
    # Created while no service runs: later, commands cannot reach the service.
    service.initialize()
    pair = service.create_key()
    service.start()
    assert service.get("/v1/account", pair.bearer).status == 200
    assert "shared memory is unavailable, so only one worker can run" in service.log
    refused = service.command("keys", "revoke", "--yes", pair.api_key, check=False)
    assert refused.returncode == 1
    assert "nothing was changed" in refused.stderr
    assert service.get("/v1/account", pair.bearer).status == 200
    os.kill(master(service), signal.SIGTTIN)
    wait_until(
        lambda: "only one worker is allowed" in service.log, "the refusal of a second worker"
    )
    assert len(workers(service)) == 1


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Pair]]:
    """One worker without shared memory, and a key that may change others."""
    directory = tmp_path_factory.mktemp("alone")
    settings = {
        "LATCHKEY_SHARED_MEMORY": str(directory / "nowhere"),
        "LATCHKEY_WORKERS": "1",
        "LATCHKEY_FAILURE_LIMIT": "off",
    }
    service = Service(directory, unprivileged=False, **settings)
    service.initialize()
    issuer = service.create_key()
    with service:
        yield service, issuer


def issue(service: Service, issuer: Pair) -> Pair:
    made = service.request("POST", "/v1/api_keys", issuer.bearer, json_body={"name": "test"}).json
    return Pair(made["api_key"], made["api_secret"])


def booted(service: Service) -> int:
    """The worker that was started last."""
    return int(service.log.rpartition("Booting worker with pid: ")[2].split()[0])


def used(service: Service, issuer: Pair, pair: Pair) -> int:
    answer = service.get(f"/v1/api_keys/{pair.api_key}/usage", issuer.bearer)
    return int(answer.json["requests"])


def test_the_worker_before_a_reload_and_the_one_after_agree(single: tuple[Service, Pair]) -> None:
    """The old worker finishes a change when the new one is already serving."""
    service, issuer = single
    pair = issue(service, issuer)
    (old,) = workers(service)
    body = b'{"scopes": ["credentials:read"]}'
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.putrequest("PATCH", f"/v1/api_keys/{pair.api_key}")
        for name, value in issuer.bearer.items():
            connection.putheader(name, value)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        # The thread that answers reads the body.
        connection.putheader("Expect", "100-continue")
        connection.endheaders(body[:5])
        wait_until(lambda: service.metric("latchkey_requests_in_flight") == 2, "the change")
        os.kill(master(service), signal.SIGHUP)
        wait_until(lambda: service.log.count("Booting worker") == 2, "the new worker")
        with alone(service, booted(service)):
            assert service.get("/v1/account", pair.bearer).status == 200
        connection.send(body[5:])
        assert connection.getresponse().status == 200
        assert service.get("/v1/account", pair.bearer).status == 403
    wait_until(lambda: not is_alive(old), "the end of the old one")
    assert used(service, issuer, pair) == 2


def await_successor(service: Service, former: int) -> None:
    wait_until(lambda: workers(service) not in ([], [former]), "another worker")
    wait_until(lambda: not is_alive(former), "the end of the old one")


def test_a_reload_or_a_kill_loses_nothing(single: tuple[Service, Pair], long: bool) -> None:
    """The counts of a killed worker are in the memory that its successor continues."""
    service, issuer = single
    pair = issue(service, issuer)
    authenticated = service.metric("latchkey_requests_total", outcome="authenticated")
    with under_load(service, lambda: pair, pause=0.005) as load:
        for _ in range(20 if long else 1):
            for number in (signal.SIGHUP, signal.SIGKILL):
                (victim,) = workers(service)
                os.kill(master(service) if number == signal.SIGHUP else victim, number)
                await_successor(service, victim)
    assert set(load.statuses) == {200}
    assert load.statuses[200] <= used(service, issuer, pair)
    assert used(service, issuer, pair) <= load.statuses[200] + load.broken
    counted = service.metric("latchkey_requests_total", outcome="authenticated")
    assert counted >= authenticated + load.statuses[200]
