"""Users' own servers over one database, all running at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.support.faults.service_processes import wait_until
from tests.support.ports import free_port
from tests.support.servers.applications import ASGI, FLASK, WSGI
from tests.support.service import Answer, Service

ROOT = Path(__file__).parents[3]
_BIN = Path(sys.executable).parent
_GUNICORN = [str(_BIN / "gunicorn"), "--no-control-socket", "--bind=127.0.0.1:{port}"]
COMMANDS: dict[str, list[str]] = {
    "gunicorn sync": [*_GUNICORN, "--workers=2", "site_wsgi:app"],
    "gunicorn gthread": [*_GUNICORN, "--workers=2", "--threads=4", "site_flask:app"],
    "gunicorn gevent": [*_GUNICORN, "--workers=2", "--worker-class=gevent", "site_flask:app"],
    "gunicorn --preload": [*_GUNICORN, "--workers=2", "--preload", "site_flask:app"],
    "waitress": [str(_BIN / "waitress-serve"), "--listen=127.0.0.1:{port}", "site_flask:app"],
    "flask run --debug": [
        *(sys.executable, "-m", "flask", "--app", "site_flask", "run", "--debug"),
        "--port={port}",
    ],
    "uvicorn": [
        *(str(_BIN / "uvicorn"), "--port={port}", "--workers=2", "--no-access-log"),
        "site_asgi:app",
    ],
}
"""The command of each server; ``{port}`` is replaced."""

PATHS: dict[str, tuple[str, ...]] = {
    "gunicorn sync": ("", "/django", "/plain"),
    "uvicorn": ("", "/django", "/starlette"),
}
"""Where the applications of a server are mounted; in the others, at the root."""


@dataclass
class Running:
    """The servers and the database that they share."""

    box: Service
    directory: Path
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def places(self) -> list[tuple[str, str]]:
        """Each server with each path at which an application is mounted."""
        return [(server, path) for server in self.ports for path in PATHS.get(server, ("",))]

    def get(self, server: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        """Send one request to a server."""
        self.box.port = self.ports[server]
        return self.box.get(path, headers)

    def log(self, server: str) -> str:
        return (self.directory / f"{server}.log").read_text(errors="replace")


@contextmanager
def running_servers(directory: Path, servers: Sequence[str] = tuple(COMMANDS)) -> Iterator[Running]:
    """Start the servers at the same time, and wait until all of them respond."""
    memory = directory / "memory"
    memory.mkdir()
    # Keeps Flask's reloader from using watchdog, which would watch the complete checkout.
    (directory / "watchdog.py").write_text("raise ImportError\n")
    box = Service(
        directory,
        LATCHKEY_SHARED_MEMORY=str(memory),
        LATCHKEY_SHARED_SIZE="8",
        LATCHKEY_FAILURE_LIMIT="off",
    )
    box.initialize()
    for name, text in (("site_flask", FLASK), ("site_wsgi", WSGI), ("site_asgi", ASGI)):
        (directory / f"{name}.py").write_text(text)
    running = Running(box, directory)
    with ExitStack() as stack:
        for server in servers:
            running.ports[server] = free_port()
            running.processes[server] = stack.enter_context(_started(running, server))
        for server, path in running.places:
            wait_until(lambda: _responds(running, server, path), f"{server}{path}", 0.05)  # noqa: B023
        yield running
        # Like a terminal: the signal goes to all processes at once.
        for process in running.processes.values():
            os.killpg(process.pid, signal.SIGINT)
        for process in running.processes.values():
            process.wait(90)


@contextmanager
def _started(running: Running, server: str) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "app"), str(running.directory)))
    command = [part.format(port=running.ports[server]) for part in COMMANDS[server]]
    with (running.directory / f"{server}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=running.directory,
            env={**running.box.environment(), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _responds(running: Running, server: str, path: str) -> bool:
    assert running.processes[server].poll() is None, running.log(server)
    try:
        return running.get(server, f"{path}/health").status == 200
    except (OSError, HTTPException):
        return False


class Load(threading.Thread):
    """Requests with one key, one after the other; notes when each began, and its status."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._port, self._path, self._headers = port, path, headers
        self._over = threading.Event()
        self.answers: list[tuple[float, int]] = []

    def run(self) -> None:
        while not self._over.is_set():
            connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                while not self._over.is_set():
                    begun = time.monotonic()
                    connection.request("GET", self._path, headers=self._headers)
                    answer = connection.getresponse()
                    answer.read()
                    self.answers.append((begun, answer.status))
            except (OSError, HTTPException):
                # The server closed the connection between two requests.
                continue
            finally:
                connection.close()

    def end(self) -> None:
        self._over.set()
        self.join()

    def has_gone_on(self, time: float) -> bool:
        """Whether some requests that began after a time were answered."""
        return len(self.after(time)) >= 5

    def after(self, time: float) -> list[int]:
        """The statuses of the requests that began after a time."""
        return [status for begun, status in list(self.answers) if begun > time]
