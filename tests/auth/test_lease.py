"""Cached results count only while the box has a lease, on every path of the check."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey import wsgi
from latchkey.box.boot_clock import boot_ns
from latchkey.box.shared import FOREVER, SharedState, Word
from latchkey.errors import AuthenticationError
from tests.support.auth.shared_box import SharedBox
from tests.support.auth.worker import BACKENDS, PATIENCE, Running, Worker, derive

SECOND = 1_000_000_000
# Python has no name for it.
MONOTONIC_COARSE = 6


def set_lease(shared: SharedState, until: int) -> None:
    """Set the end of the lease, and wait until compiled code reads it again."""
    words = shared.words
    assert words.compare_exchange(Word.FRESH_UNTIL, words.value(Word.FRESH_UNTIL), until)
    before = time.clock_gettime_ns(MONOTONIC_COARSE)
    while time.clock_gettime_ns(MONOTONIC_COARSE) == before:
        time.sleep(0.001)


@pytest.fixture(params=BACKENDS)
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path / "latchkey.db", real_time=True, backend=request.param)
    yield worker
    worker.close()


def bearer(secret: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_AUTHORIZATION": f"Bearer {secret}",
    }


def by_gate(worker: Worker) -> Callable[[str], str]:
    """A request through the compiled check, then the policy; returns its status."""
    seen: list[str] = []
    middleware: Any = wsgi.middleware(lambda environ, start_response: [], worker.authenticator)

    def status(secret: str) -> str:
        del seen[:]
        middleware(bearer(secret), lambda status, headers, exc_info=None: seen.append(status))
        return seen[0][:3] if seen else "200"

    return status


def by_policy(worker: Worker) -> Callable[[str], str]:
    """A request that Python alone decides."""

    def status(secret: str) -> str:
        try:
            worker.authenticate(secret)
        except AuthenticationError:
            return "401"
        return "200"

    return status


@pytest.mark.parametrize("way", [by_gate, by_policy])
def test_without_a_lease_each_request_reads_the_store(
    worker: Worker, way: Callable[[Worker], Callable[[str], str]]
) -> None:
    shared, status = worker.authenticator.shared, way(worker)
    reads_always = not worker.cached
    good, revoked, unknown = worker.issue(), worker.issue(), derive(worker.keys.newest)
    worker.revoke(revoked)
    expected = {good: "200", revoked: "401", unknown: "401"}
    for secret, answer in expected.items():
        for _ in range(3):
            assert status(secret) == answer
    leases = [
        (FOREVER, reads_always),
        (boot_ns() + 3600 * SECOND, reads_always),
        (0, True),
        (boot_ns() - 1, True),
        (boot_ns() + 3600 * SECOND, reads_always),
    ]
    for until, reads in leases:
        set_lease(shared, until)
        for secret, answer in expected.items():
            status(secret)
            before = worker.reads.count
            assert status(secret) == answer
            assert worker.reads.count == before + reads


def test_a_lease_ends_at_its_time(tmp_path: Path) -> None:
    """Close to its end, where a coarse clock is not precise enough."""
    worker = Worker(tmp_path / "latchkey.db", real_time=True)
    status, secret = by_gate(worker), worker.issue()
    status(secret)
    end = boot_ns() + SECOND // 3
    set_lease(worker.authenticator.shared, end)
    while (begun := boot_ns()) < end + SECOND // 20:
        before = worker.reads.count
        assert status(secret) == "200"
        if begun >= end:
            assert worker.reads.count == before + 1
        elif boot_ns() < end:
            assert worker.reads.count == before
    worker.close()


def test_entries_of_other_workers_need_a_lease(box: SharedBox) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.authenticate(secret)
    set_lease(first.authenticator.shared, 0)
    for _ in range(2):
        before = second.reads.count
        second.authenticate(secret)
        assert second.reads.count == before + 1


def test_a_request_without_a_lease_joins_no_read_of_another(tmp_path: Path) -> None:
    """That read may have begun before a change that was answered since."""
    worker = Worker(tmp_path / "latchkey.db", real_time=True)
    secret = worker.issue()
    is_reading, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        worker.reads.before = lambda: None
        is_reading.set()
        assert may_go_on.wait(PATIENCE)

    worker.reads.before = hold
    first = Running(lambda: worker.authenticate(secret))
    assert is_reading.wait(PATIENCE)
    set_lease(worker.authenticator.shared, 0)
    worker.authenticate(secret)
    assert worker.reads.count == 2
    may_go_on.set()
    first.value()
    worker.close()


def test_the_filter_of_imported_tokens_needs_a_lease() -> None:
    shared = SharedState.private()
    shared.learn_imported([bytes(32)])
    assert shared.may_be_imported(bytes(32))
    assert not shared.may_be_imported(b"\1" * 32)
    set_lease(shared, boot_ns() - 1)
    assert shared.may_be_imported(b"\1" * 32)


def test_a_state_of_several_boxes_begins_without_a_lease() -> None:
    assert not SharedState.private(leased=True).has_lease()
    now = 5
    shared = SharedState.private(leased=True, boot_clock=lambda: now)
    assert shared.words.raise_to(Word.FRESH_UNTIL, 6)
    assert shared.has_lease()
    now = 6
    assert not shared.has_lease()
