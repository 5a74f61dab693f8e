"""Races between processes, forced at their worst moments, at which SIGSTOP stops a worker.

A check that started before the end of a change may pass or not; one that starts afterwards, in any
process, must not.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.auth.worker import Running
from tests.support.faults import held_worker
from tests.support.faults.held_worker import AFTER, BEFORE, COMMITTED, STOP, WAIT
from tests.support.faults.outage import derived
from tests.support.faults.service_processes import is_stopped, wait_until
from tests.support.service import Answer, Pair, Process, Service

pytestmark = pytest.mark.attack

HELD = 120.0
"""Seconds that a held request may wait, because a command starts slowly on a busy machine."""


class HeldWorker(Service):
    """A worker with its own process and port, which stops where a test requests it."""

    @property
    def stops(self) -> Path:
        return self.directory / "stops"

    def serve(self, log: BinaryIO) -> Process:
        self.stops.mkdir(exist_ok=True)
        code = "from tests.support.faults.held_worker import main; main()"
        return self.run(code, [str(self.port), str(self.stops)], log)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def hold(self, point: str, pair: Pair, how: str) -> Path:
        """Hold the next thread that reaches the point with this key."""
        file = held_worker.order(self.stops, point, pair.api_key)
        file.write_text(how)
        return held_worker.held(file)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def status(self, pair: Pair) -> int:
        return self.request("GET", "/v1/account", pair.bearer, timeout=HELD).status


class Workers:
    """Two workers that share memory. The second changes the key with which the first is held."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.first = HeldWorker(directory, unprivileged=False, **settings)
        self.second = HeldWorker(directory, unprivileged=False, **settings)

    def start(self) -> None:
        self.first.start()
        self.second.start()

    def stop(self) -> None:
        for worker in (self.first, self.second):
            if worker.process is not None:
                worker.go_on()
                worker.process.kill()
                worker.process.wait()
                worker.process = None

    def statuses(self, pair: Pair) -> list[int]:
        """The statuses of both, twice; the second first, which has only the shared entries."""
        return [one.status(pair) for one in (self.second, self.first, self.second, self.first)]


@pytest.fixture(scope="module", params=["fastcache", "cachetools"])
def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    made = Workers(
        tmp_path_factory.mktemp("races"),
        LATCHKEY_FAILURE_LIMIT="off",
        LATCHKEY_WORKERS="2",
        LATCHKEY_CACHE_BACKEND=request.param,
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()


def revoke(worker: Service, issuer: Pair, pair: Pair) -> int:
    path = f"/credentials/{pair.api_key}"
    return worker.request("DELETE", path, issuer.headers, timeout=HELD).status


def by_api(workers: Workers, issuer: Pair, pair: Pair) -> None:
    assert revoke(workers.second, issuer, pair) == 200


def by_command(workers: Workers, issuer: Pair, pair: Pair) -> None:
    workers.second.command("keys", "revoke", "--yes", pair.api_key)


def stopped_check(worker: HeldWorker, pair: Pair, point: str) -> Running:
    """A request whose worker is stopped completely at the point."""
    worker.hold(point, pair, STOP)
    request = Running(lambda: worker.status(pair))
    wait_until(lambda: is_stopped(worker.pid), "the worker to stop")
    return request


@pytest.mark.parametrize(
    ("point", "answer"), [(BEFORE, 401), (AFTER, 200)], ids=["before SELECT", "before fill"]
)
@pytest.mark.parametrize(("end", "rounds"), [(by_api, 100), (by_command, 10)])
def test_a_worker_is_stopped_while_another_revokes(
    workers: Workers,
    point: str,
    answer: int,
    end: Callable[[Workers, Pair, Pair], None],
    rounds: int,
    long: bool,
) -> None:
    issuer = workers.second.issue()
    for _ in range(rounds if long else 1):
        pair = workers.second.issue()
        request = stopped_check(workers.first, pair, point)
        end(workers, issuer, pair)
        workers.first.go_on()
        assert request.value() == answer
        assert workers.statuses(pair) == [401] * 4


@pytest.mark.parametrize(
    ("point", "answer"), [(BEFORE, 200), (AFTER, 401)], ids=["before SELECT", "before fill"]
)
def test_a_worker_is_stopped_while_another_registers(
    workers: Workers, point: str, answer: int, long: bool
) -> None:
    """A key that it found to be unknown is known when it continues."""
    for _ in range(100 if long else 1):
        pair = derived(workers.second)
        request = stopped_check(workers.first, pair, point)
        body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
        registered = workers.second.request("POST", "/credentials", json_body=body)
        assert registered.status == 201
        workers.first.go_on()
        assert request.value() == answer
        assert workers.statuses(pair) == [200] * 4


@pytest.mark.parametrize("point", [BEFORE, AFTER])
def test_a_revocation_during_a_flight(workers: Workers, point: str, long: bool) -> None:
    """A request that starts after it does not join the flight and does not wait for it."""
    issuer = workers.second.issue()
    for _ in range(100 if long else 1):
        pair = workers.second.issue()
        held = workers.first.hold(point, pair, WAIT)
        leader = Running(lambda: workers.first.status(pair))  # noqa: B023 - ends in this round
        wait_until(held.exists, "the flight")
        joined = [Running(lambda: workers.first.status(pair)) for _ in range(4)]  # noqa: B023
        # The leader, the others, and the request for this number.
        wait_until(
            lambda: workers.first.metric("latchkey_requests_in_flight") == 6, "others to join it"
        )
        assert revoke(workers.second, issuer, pair) == 200
        for _ in range(3):
            assert workers.first.status(pair) == 401
        held.unlink()
        assert {one.value() for one in (leader, *joined)} <= {200, 401}
        assert workers.statuses(pair) == [401] * 4


def test_a_revoker_is_killed_between_commit_and_increment(workers: Workers, long: bool) -> None:
    """A retry ends the key immediately, although nothing is left to change."""
    issuer = workers.second.issue()
    for _ in range(20 if long else 1):
        pair = workers.second.issue()
        assert workers.statuses(pair) == [200] * 4
        workers.second.hold(COMMITTED, pair, STOP)
        revoking = Running(lambda: revoke(workers.second, issuer, pair))  # noqa: B023
        wait_until(lambda: is_stopped(workers.second.pid), "the revoker to stop")
        # Committed but not invalidated: the log exists for this case.
        assert workers.first.status(pair) == 200
        os.kill(workers.second.pid, signal.SIGKILL)
        assert revoking.outcome().error is not None
        assert revoke(workers.first, issuer, pair) == 404
        assert workers.first.status(pair) == 401
        restart(workers.second)
        assert workers.statuses(pair) == [401] * 4


@pytest.mark.parametrize("again", ["api", "command"])
def test_a_revoker_is_stopped_and_another_retries(workers: Workers, again: str) -> None:
    issuer = workers.second.issue()
    pair = workers.second.issue()
    assert workers.statuses(pair) == [200] * 4
    workers.second.hold(COMMITTED, pair, STOP)
    revoking = Running(lambda: revoke(workers.second, issuer, pair))
    wait_until(lambda: is_stopped(workers.second.pid), "the revoker to stop")
    assert workers.first.status(pair) == 200
    if again == "api":
        assert revoke(workers.first, issuer, pair) == 404
    else:
        done: subprocess.CompletedProcess[str] = workers.first.command(
            "keys", "revoke", "--yes", pair.api_key, check=False
        )
        assert done.returncode == 1
    assert workers.first.status(pair) == 401
    workers.second.go_on()
    assert revoking.value() == 200
    assert workers.statuses(pair) == [401] * 4


def rotate(worker: Service, issuer: Pair, pair: Pair) -> Answer:
    """End a key at once, by a request that creates at most one successor."""
    path = f"/v1/api_keys/{pair.api_key}/rotate"
    headers = {**issuer.bearer, "Idempotency-Key": pair.api_key}
    body = {"overlap_seconds": 0}
    return worker.request("POST", path, headers, json_body=body, timeout=HELD)


def test_a_creator_is_killed_between_commit_and_increment(workers: Workers, long: bool) -> None:
    """A retry with the same idempotency key names the key that was made, and publishes it."""
    issuer = workers.second.issue()
    for _ in range(20 if long else 1):
        pair = workers.second.issue()
        assert workers.statuses(pair) == [200] * 4
        workers.second.hold(COMMITTED, pair, STOP)
        rotating = Running(lambda: rotate(workers.second, issuer, pair))  # noqa: B023
        wait_until(lambda: is_stopped(workers.second.pid), "the creator to stop")
        assert workers.first.status(pair) == 200
        os.kill(workers.second.pid, signal.SIGKILL)
        assert rotating.outcome().error is not None
        answer = rotate(workers.first, issuer, pair)
        assert (answer.status, answer.code) == (409, "already_created")
        assert workers.first.status(pair) == 401
        path = f"/v1/api_keys/{pair.api_key}"
        successor = workers.first.get(path, issuer.bearer).json["rotated_to"]
        assert answer.json["error"]["message"] == f"Already created: {successor}"
        restart(workers.second)
        assert workers.statuses(pair) == [401] * 4


def restart(worker: HeldWorker) -> None:
    assert worker.process is not None
    worker.process.wait()
    worker.process = None
    worker.start()
