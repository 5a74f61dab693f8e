"""The service's processes in /proc, and other processes that interfere with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.service import Service

# Longer than the 30 s after which gunicorn kills a worker that missed its signal at its start.
_PATIENCE = 60.0


def wait_until(
    condition: Callable[[], bool], what: str, pause: float = 0.02, patience: float = _PATIENCE
) -> None:
    """Wait for a condition; fails with its name if it does not become true.

    ``pause`` is in seconds, between two checks, and so is ``patience``, for all of them.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(pause)


def master(service: Service) -> int:
    """The process id of gunicorn's master."""
    assert service.process is not None
    return service.process.pid


def workers(service: Service) -> list[int]:
    """The process ids of the living workers.

    The first worker responds before the last one is started, so the first call waits for all.
    """
    if service.complete is not service.process:
        count = int(service.settings["LATCHKEY_WORKERS"])
        wait_until(lambda: len(children(master(service))) >= count, "every worker")
        service.complete = service.process
    return children(master(service))


def children(pid: int) -> list[int]:
    """The process ids of the living processes that a process started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split() if is_alive(int(child))]


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return _state(Path(f"/proc/{pid}/stat")) not in "ZX"
    except OSError:
        return False


@contextmanager
def alone(service: Service, pid: int) -> Iterator[None]:
    """Stop all workers but one during the block, so that it answers every request."""
    others = [worker for worker in workers(service) if worker != pid]
    try:
        for other in others:
            os.kill(other, signal.SIGSTOP)
        wait_until(lambda: all(map(is_stopped, others)), "the workers to stop")
        yield
    finally:
        for other in others:
            with suppress(ProcessLookupError):
                os.kill(other, signal.SIGCONT)


def kill_all(service: Service) -> None:
    """Kill every process of a service at the same time, as a power failure does, and wait."""
    pids = [master(service), *workers(service)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert service.process is not None
    service.process.wait()
    service.process = None
    # Until then, they hold the address and the lock of the service.
    wait_until(lambda: not any(map(is_alive, pids)), "the end of its processes")


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process is stopped: delivering a signal takes time."""
    try:
        return all(_state(thread / "stat") == "T" for thread in Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        # A thread has ended meanwhile.
        return False


def _state(stat: Path) -> str:
    return stat.read_text().rpartition(")")[2].split()[0]


def open_files(pid: int, path: Path) -> list[str]:
    """The files of a database that a process has open: the file itself, its log, its index."""
    names = {str(path), f"{path}-wal", f"{path}-shm"}
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target.removesuffix(" (deleted)") in names:
            found.append(target)
    return sorted(found)


@contextmanager
def other_process(code: str, *arguments: str) -> Iterator[None]:
    """Another process that runs ``code`` and then waits until the end of the block.

    It must be another process, because locks of one process do not exclude itself.
    """
    stay = "\nprint('ready', flush=True)\nsys.stdin.read()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, sqlite3, sys\n{code}{stay}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.communicate()


class Stalls(threading.Thread):
    """Measures how long the machine does not run a thread that only sleeps.

    Promises in seconds assume a machine that runs. ``longest`` is in seconds.
    """

    _NAP = 0.005

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self.longest = 0.0

    def run(self) -> None:
        before = time.monotonic()
        while not self._over.wait(self._NAP):
            now = time.monotonic()
            self.longest = max(self.longest, now - before - self._NAP)
            before = now

    def __enter__(self) -> Stalls:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join()
