"""Use counts are exact whatever happens to the processes: killed, replaced, upgraded, restarted."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.load import Load, under_load
from tests.faults.processes import is_alive, master, wait_until, workers
from tests.service import Pair, Service


def counted(service: Service, pair: Pair) -> int:
    """The requests that the service has counted for a key, which the question does not change."""
    asked = service.command("keys", "usage", pair.api_key, "--json").stdout
    requests: int = json.loads(asked)["requests"]
    return requests


def check_counts(service: Service, pair: Pair, load: Load) -> None:
    """As many as were answered; what was broken off may have been counted or not."""
    assert set(load.statuses) == {200}
    assert load.statuses[200] <= counted(service, pair) <= load.statuses[200] + load.broken


def start(start_service: Callable[..., Service], **settings: str) -> tuple[Service, Pair]:
    service = start_service(LATCHKEY_WORKERS="3", LATCHKEY_FAILURE_LIMIT="off", **settings)
    return service, service.create_key()


def restart_after_a_kill(service: Service) -> None:
    assert service.process is not None
    service.process.wait()
    service.process = None
    service.start()


def shared_files(service: Service) -> list[Path]:
    record = service.database.with_name(f"{service.database.name}-service")
    path = Path(json.loads(record.read_text())["segment"])
    return [path] if path.exists() else []


def test_workers_are_killed_at_random(start_service: Callable[..., Service], long: bool) -> None:
    """Whichever writes the counts down is among them."""
    service, pair = start(start_service)
    generator = random.Random(7)
    with under_load(service, lambda: pair) as load:
        for _ in range(300 if long else 8):
            time.sleep(generator.uniform(0, 0.6))
            with suppress(ProcessLookupError, IndexError):
                os.kill(generator.choice(workers(service)), signal.SIGKILL)
            wait_until(lambda: len(workers(service)) == 3, "a new worker")
    assert load.statuses[200] > 20
    check_counts(service, pair, load)
    service.stop()
    check_counts(service, pair, load)
    assert "Traceback" not in service.log


def test_every_process_is_killed(start_service: Callable[..., Service], long: bool) -> None:
    """What was counted and not written down yet is, by the next start."""
    service, pair = start(start_service)
    total = broken = 0
    for _ in range(20 if long else 3):
        with under_load(service, lambda: pair) as load:
            time.sleep(random.uniform(0.3, 2.5))
            for pid in [master(service), *workers(service)]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        restart_after_a_kill(service)
        total, broken = total + load.statuses[200], broken + load.broken
        # Until the clients stopped there was nobody to answer them.
        assert total <= counted(service, pair) <= total + broken
    service.stop()
    assert shared_files(service) == []


def test_a_stopped_worker_holds_nobody_up(start_service: Callable[..., Service]) -> None:
    """Not the others' answers, nor the counting, nor a revocation."""
    service, pair = start(start_service)
    other = service.create_key()
    for _ in range(20):
        assert service.get("/v1/account", pair.bearer).status == 200
    stopped = workers(service)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        service.command("keys", "revoke", "--yes", other.api_key)
        assert time.monotonic() - began < 15
        time.sleep(5)
        usage = service.command("keys", "usage", pair.api_key, "--json").stdout
        assert '"requests": 20' in usage
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_a_reload_loses_no_request_and_no_count(
    start_service: Callable[..., Service], long: bool
) -> None:
    service, pair = start(start_service)
    with under_load(service, lambda: pair) as load:
        for _ in range(10 if long else 2):
            before = set(workers(service))
            os.kill(master(service), signal.SIGHUP)
            wait_until(
                lambda before=before: (
                    len(workers(service)) == 3  # type: ignore[misc]
                    and not before & set(workers(service))
                ),
                "new workers in place of the old",
            )
    assert load.broken == 0
    check_counts(service, pair, load)


def test_more_and_fewer_workers(start_service: Callable[..., Service]) -> None:
    service, pair = start(start_service)
    with under_load(service, lambda: pair) as load:
        for number, count in ((signal.SIGTTIN, 4), (signal.SIGTTOU, 3), (signal.SIGTTOU, 2)):
            os.kill(master(service), number)
            wait_until(lambda count=count: len(workers(service)) == count, f"{count} workers")  # type: ignore[misc]
    assert load.broken == 0
    check_counts(service, pair, load)


def test_an_upgrade_loses_no_request_and_no_count(start_service: Callable[..., Service]) -> None:
    """USR2: a second master joins the first one's memory, and goes on when that has ended."""
    service, pair = start(start_service)
    old = master(service)
    with under_load(service, lambda: pair) as load:
        before = set(workers(service))
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: service.log.count("Listening at") == 2, "the second master")
        (new,) = set(workers(service)) - before
        wait_until(lambda: len(children(new)) == 3, "its workers")
        time.sleep(1)
        assert service.process is not None
        service.process.terminate()
        service.process.wait(60)
        time.sleep(1)
        revoked = service.create_key()
        assert service.get("/v1/account", revoked.bearer).status == 200
        service.command("keys", "revoke", "--yes", revoked.api_key)
        for _ in range(8):
            assert service.get("/v1/account", revoked.bearer).status == 401
    try:
        assert load.broken == 0
        check_counts(service, pair, load)
    finally:
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not is_alive(new), "the second master's end")
    check_counts(service, pair, load)
    assert shared_files(service) == []


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_a_clean_stop_leaves_nothing_in_memory(start_service: Callable[..., Service]) -> None:
    service, pair = start(start_service)
    for _ in range(9):
        assert service.get("/v1/account", pair.bearer).status == 200
    assert len(shared_files(service)) == 1
    service.stop()
    assert shared_files(service) == []
    assert counted(service, pair) == 9


@pytest.mark.parametrize("workers_asked", ["1", "2"])
def test_memory_that_is_full(
    start_service: Callable[..., Service], tmp_path: Path, workers_asked: str
) -> None:
    """One worker serves without, and says so; several do not start."""
    from tests.faults import disk

    if not disk.can_mount():
        pytest.skip("mounting a small file system needs permission")
    small = tmp_path / "small"
    small.mkdir()
    with disk.mounted(small):
        settings = {
            "LATCHKEY_SHARED_MEMORY": str(small),
            "LATCHKEY_WORKERS": workers_asked,
        }
        if workers_asked == "2":
            with pytest.raises(RuntimeError, match="no shared memory, which several workers need"):
                start_service(**settings)
            return
        # Made while nobody serves: the command line will not reach the one that does.
        (tmp_path / "service").mkdir()
        beforehand = Service(tmp_path / "service")
        beforehand.command("init")
        pair = beforehand.create_key()
        service = start_service(**settings)
        assert service.get("/v1/account", pair.bearer).status == 200
        assert "no shared memory, so one worker at most" in service.log
        refused = service.command("keys", "revoke", "--yes", pair.api_key, check=False)
        assert refused.returncode == 1
        assert "nothing was changed" in refused.stderr
        assert service.get("/v1/account", pair.bearer).status == 200
        os.kill(master(service), signal.SIGTTIN)
        wait_until(lambda: "one worker only" in service.log, "the refusal of a second worker")
        assert len(workers(service)) == 1
        service.stop()
        assert list(small.iterdir()) == []
