"""The ticket rules, each forced at its worst moment: after ``revoke`` returned, no check passes.

A check that started before the end of the revocation may pass or not; one that starts afterwards
must not. The threads, the stripes, the database and its commits are real; only the store's read is
delayed, just before or just after its SELECT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from latchkey.check.cache_levels import Backend
from tests.support.auth.worker import Gate, Running, Worker, await_waiting, derive, presented
from tests.support.thread_switching import let_others_run, switching_every

pytestmark = pytest.mark.attack

FAR = datetime(2199, 1, 1, tzinfo=UTC)


def _check_stopped(worker: Worker, secret: str, where: str) -> tuple[Running, Gate]:
    """A check of an uncached key in a thread, stopped before or after its SELECT, or at its end."""
    gate = Gate()
    thread = Running(lambda: worker.outcome(secret), start=False)
    gate.only(thread)
    if where == "use":
        # The wall clock is read last, for the expiry, after the entry was filled.
        now = worker.clock.now

        def clock() -> float:
            gate()
            return now

        worker.clock = clock  # type: ignore[assignment]
    else:
        setattr(worker.reads, where, gate)
    thread.start()
    gate.await_arrival()
    return thread, gate


def test_revoked_between_ticket_and_select(worker: Worker) -> None:
    secret = worker.issue()
    check, gate = _check_stopped(worker, secret, "before")
    worker.revoke(secret)
    assert worker.outcome(secret) == "RevokedCredential"
    gate.open()
    # It has not read the row yet, so it reads the revocation.
    assert check.value() == "RevokedCredential"
    for _ in range(3):
        assert worker.outcome(secret) == "RevokedCredential"


def test_an_entry_read_under_an_old_ticket_is_read_again(worker: Worker) -> None:
    """Even if it happens to be current: the ticket decides, not the value."""
    secret = worker.issue()
    check, gate = _check_stopped(worker, secret, "before")
    worker.authenticator.invalidate(presented(secret).lookup)
    gate.open()
    assert check.value() == "ok"
    assert worker.reads_of(lambda: worker.authenticate(secret)) == 1
    assert worker.reads_of(lambda: worker.authenticate(secret)) == (0 if worker.cached else 1)


def test_revoked_between_select_and_fill(worker: Worker) -> None:
    secret = worker.issue()
    check, gate = _check_stopped(worker, secret, "after")
    worker.revoke(secret)
    gate.open()
    # It started before the revocation, and read the row before it.
    assert check.value() == "ok"
    for _ in range(3):
        assert worker.outcome(secret) == "RevokedCredential"


def test_revoked_between_select_and_fill_with_concurrent_requests(worker: Worker) -> None:
    """A new request does not join the stale flight, and the stale fill does not undo its entry."""
    secret = worker.issue()
    check, gate = _check_stopped(worker, secret, "after")
    worker.revoke(secret)
    newcomers = [Running(lambda: worker.outcome(secret)) for _ in range(5)]
    assert [newcomer.value() for newcomer in newcomers] == ["RevokedCredential"] * 5
    gate.open()
    assert check.value() == "ok"
    for _ in range(3):
        assert worker.outcome(secret) == "RevokedCredential"


def test_waiters_from_before_the_revocation_do_not_share_their_result(worker: Worker) -> None:
    secret = worker.issue()
    check, gate = _check_stopped(worker, secret, "after")
    waiters = [Running(lambda: worker.outcome(secret)) for _ in range(5)]
    await_waiting(waiters, "fly")
    worker.revoke(secret)
    assert worker.outcome(secret) == "RevokedCredential"
    gate.open()
    assert [thread.value() for thread in (check, *waiters)] == ["ok"] * 6
    for _ in range(3):
        assert worker.outcome(secret) == "RevokedCredential"


def test_revoked_between_fill_and_use(worker: Worker) -> None:
    secret = worker.issue(FAR)
    check, gate = _check_stopped(worker, secret, "use")
    worker.revoke(secret)
    for _ in range(3):
        assert worker.outcome(secret) == "RevokedCredential"
    gate.open()
    assert check.value() == "ok"
    for _ in range(3):
        assert worker.outcome(secret) == "RevokedCredential"


def test_revoked_during_a_hit(worker: Worker) -> None:
    secret = worker.issue(FAR)
    assert worker.outcome(secret) == "ok"
    check, gate = _check_stopped(worker, secret, "use")
    worker.revoke(secret)
    assert worker.outcome(secret) == "RevokedCredential"
    gate.open()
    assert check.value() == "ok"
    assert worker.outcome(secret) == "RevokedCredential"


@pytest.mark.parametrize("checked_meanwhile", [False, True])
@pytest.mark.parametrize("where", ["before", "after"])
def test_registered_while_it_is_looked_up_as_unknown(
    worker: Worker, where: str, checked_meanwhile: bool
) -> None:
    secret = derive(worker.keys.newest)
    check, gate = _check_stopped(worker, secret, where)
    worker.register(secret)
    if checked_meanwhile:
        assert worker.outcome(secret) == "ok"
    gate.open()
    assert check.value() == ("ok" if where == "before" else "InvalidCredential")
    for _ in range(3):
        assert worker.outcome(secret) == "ok"


def test_an_invalidation_reaches_both_places(worker: Worker) -> None:
    known, unknown = worker.issue(), derive(worker.keys.newest)
    for secret in (known, unknown):
        worker.outcome(secret)
        worker.authenticator.invalidate(presented(secret).lookup)
        assert worker.reads_of(lambda secret=secret: worker.outcome(secret)) == 1  # type: ignore[misc]


def test_a_read_sees_the_last_commit_of_another_connection(worker: Worker) -> None:
    """The connection for lookups keeps no snapshot open."""
    secret = worker.issue()
    assert worker.outcome(secret) == "ok"
    for _ in range(5):
        worker.authenticator.invalidate(presented(secret).lookup)
        assert worker.outcome(secret) == "ok"
    other = Worker(worker.path, fresh=False)
    other.revoke(secret)
    other.close()
    # That worker has its own stripes here, so this one is invalidated explicitly.
    worker.authenticator.invalidate(presented(secret).lookup)
    assert worker.outcome(secret) == "RevokedCredential"


@pytest.fixture
def many_switches() -> Iterator[None]:
    with switching_every(1e-5):
        yield


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("torn", [False, True], ids=["hits", "misses too"])
def test_under_load_no_check_passes_after_the_revocation(
    tmp_path: Path, backend: Backend, torn: bool, long: bool
) -> None:
    """Threads check one key constantly; after its revocation, each new check is refused.

    Meanwhile, other keys are registered and revoked. With ``torn``, the key is invalidated all the
    time, so that reads, flights and fills are always in progress.
    """
    worker = Worker(tmp_path / "latchkey.db", backend=backend)
    rounds = (2_000 if long else 30) // (1 if backend == "fastcache" else 3)
    current: list[tuple[str, threading.Event]] = [(worker.issue(), threading.Event())]
    stop = threading.Event()
    faults: list[str] = []
    passed = [0]

    def check() -> None:
        while not stop.is_set():
            let_others_run()
            secret, revoked = current[0]
            was_revoked = revoked.is_set()
            outcome = worker.outcome(secret)
            if outcome == "ok":
                passed[0] += 1
                if was_revoked:
                    faults.append("passed after its revocation")
            elif outcome != "RevokedCredential":
                faults.append(outcome)

    def disturb() -> None:
        while not stop.is_set():
            if torn:
                let_others_run()
                worker.authenticator.invalidate(presented(current[0][0]).lookup)
            else:
                stop.wait(0.001)

    def change_others() -> None:
        while not stop.is_set():
            let_others_run()
            secret = derive(worker.keys.newest)
            before = worker.outcome(secret)
            worker.register(secret)
            registered = worker.outcome(secret)
            worker.revoke(secret)
            after = worker.outcome(secret)
            if (before, registered, after) != ("InvalidCredential", "ok", "RevokedCredential"):
                faults.append(f"another key: {before}, {registered}, {after}")

    actions: list[Callable[[], None]] = [check, check, disturb, change_others]
    threads = [Running(action) for action in actions]
    try:
        for _ in range(rounds):
            secret, revoked = current[0]
            while not passed[0] and not faults:
                stop.wait(0.001)
            passed[0] = 0
            worker.revoke(secret)
            revoked.set()
            if (outcome := worker.outcome(secret)) != "RevokedCredential":
                faults.append(f"the revoker itself: {outcome}")
            current[0] = (worker.issue(), threading.Event())
            if faults:
                break
    finally:
        stop.set()
        for thread in threads:
            thread.value()
        worker.close()
    assert faults == []
