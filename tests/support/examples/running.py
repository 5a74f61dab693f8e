"""An example that runs in a copy of its directory, with an instance and a server of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from tests.support.faults.service_processes import children, wait_until
from tests.support.service import Answer, Service

_EXAMPLES = Path(__file__).parents[3] / "examples"


class RunningExample:
    """An example under gunicorn with two workers, as its README says; use it as a context."""

    def __init__(self, name: str, directory: Path) -> None:
        ignored = shutil.ignore_patterns("__pycache__", "data", "secrets")
        shutil.copytree(_EXAMPLES / name, directory, ignore=ignored)
        self._application = f"{name}:create_app()"
        # The instance, and the requests to the port: the server is the example's own.
        self.service = Service(directory)
        self.service.initialize()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RunningExample:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(90)
        except subprocess.TimeoutExpired:
            self.kill()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        arguments = ["--workers", "2", "--bind", f"127.0.0.1:{self.service.port}"]
        with self.service.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *arguments, self._application],
                cwd=self.service.directory,
                env=self.service.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self.answer("GET", "/") is not None, "the example")

    def kill(self) -> None:
        """Kill the server and its workers with SIGKILL."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_worker(self) -> None:
        """Kill one worker with SIGKILL, while it works; the server starts another one."""
        assert self._process is not None
        number = self._process.pid
        wait_until(lambda: bool(children(number)), "a worker")
        with suppress(ProcessLookupError, IndexError):
            os.kill(children(number)[0], signal.SIGKILL)

    def answer(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> Answer | None:
        """The answer to a request; None if the server died, or is not there."""
        try:
            return self.service.request(method, path, headers, json_body=body)
        except (OSError, HTTPException):
            return None
