"""Locks held by another process: each wait ends, and other routes still have a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.support.faults.service_processes import kill_all, other_process, wait_until
from tests.support.service import Service

FLOCK = (
    "import fcntl, os\n"
    "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)\n"
    "fcntl.flock(lock, fcntl.LOCK_EX)"
)

WRITE_LOCK = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
THREADS = 6
CHANGES = 14

pytestmark = pytest.mark.attack


def test_the_lock_of_the_audit_head(start_service: Callable[..., Service]) -> None:
    """Changes are answered, the head is postponed, and it is written when the lock is free."""
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_THREADS=str(THREADS))
    issuer = service.issue()
    head = service.directory / service.settings["LATCHKEY_AUDIT_HEAD_FILE"]
    before = head.read_bytes()
    create = partial(
        service.request, "POST", "/v1/api_keys", issuer.bearer, json_body={"name": "x"}
    )
    with other_process(FLOCK, f"{head}.lock"), ThreadPoolExecutor(CHANGES) as pool:
        changes = [pool.submit(create) for _ in range(CHANGES)]
        assert service.get("/health").status == 200
        assert {change.result().status for change in changes} <= {201, 503}
        # The single waiting round is over: further changes do not wait.
        assert create().status == 201
        assert head.read_bytes() == before
        # The log is longer than the head records, which is no sign of tampering.
        assert service.command("audit", "verify").returncode == 0
    wait_until(lambda: head.read_bytes() != before, "the head that was left behind")
    assert service.command("audit", "verify").returncode == 0
    assert service.log.count("the head file of the audit log will be written") == 1


def test_a_crash_while_the_head_lags_behind(start_service: Callable[..., Service]) -> None:
    service = start_service(LATCHKEY_WORKERS="1")
    issuer = service.issue()
    head = service.directory / service.settings["LATCHKEY_AUDIT_HEAD_FILE"]
    before = head.read_bytes()
    with other_process(FLOCK, f"{head}.lock"):
        create = {"name": "x"}
        assert (
            service.request("POST", "/v1/api_keys", issuer.bearer, json_body=create).status == 201
        )
        kill_all(service)
    assert head.read_bytes() == before
    assert service.command("audit", "verify").returncode == 0
    service.start()
    assert service.request("POST", "/v1/api_keys", issuer.bearer, json_body=create).status == 201
    assert head.read_bytes() != before
    assert service.command("audit", "verify").returncode == 0


def test_waiting_changes_leave_threads_for_other_requests(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_THREADS=str(THREADS))
    issuer = service.issue()
    create = partial(
        service.request, "POST", "/v1/api_keys", issuer.bearer, json_body={"name": "x"}
    )
    with other_process(WRITE_LOCK, str(service.database)), ThreadPoolExecutor(CHANGES) as pool:
        waiting = threading.Event()
        changes = [pool.submit(create) for _ in range(CHANGES)]
        begun = time.monotonic()
        waiting.wait(0.2)
        assert service.get("/health").status == 200
        assert service.get("/v1/account", issuer.bearer).status == 200
        # Long before the timeout of the database lock.
        is_waiting = not all(change.done() for change in changes)
        assert is_waiting or time.monotonic() - begun > 5
        answers = [change.result() for change in changes]
        assert {answer.status for answer in answers} == {500, 503}
        refused = [answer for answer in answers if answer.status == 503]
        assert {(answer.code, answer.headers["retry-after"]) for answer in refused} == {
            ("unavailable", "1")
        }
        # Half of the threads wait at a time; further changes were refused immediately.
        assert len(answers) - len(refused) <= THREADS
    assert create().status == 201
