"""Runs Locust against a service, in its own processes, and returns what it recorded."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.processes import Cores
from benchmarks.load.recording import Recording, read_all
from benchmarks.load.requesting import Scenario
from benchmarks.load.service import (
    Service,
    clean_environment,
    end_group,
    ending_with_us,
)

LOCUSTFILE = Path(__file__).with_name("locustfile.py")

_START_PATIENCE = 120.0
_STOP_PATIENCE = 60.0
_DURING_PAUSE = 0.25


class ClientFailed(RuntimeError):
    """Locust did not finish; the message has the last lines of its output."""


@dataclass(frozen=True)
class Load:
    """The work of the clients."""

    scenario: Scenario
    seconds: int
    """The maximum duration in seconds."""
    users: int
    """The number of clients, each with its own connection and one request at a time."""
    keys: int = 1
    """The number of credentials in use."""
    fresh_keys: int = 0
    """The number of credentials that each process may present once, or revoke."""
    fresh_from: int = 0
    """The first number of these credentials."""
    processes: int = 1
    """The number of Locust processes; several are controlled by another one that sends nothing."""
    most: int = 0
    """The number of requests after which each process ends; 0 for no limit."""


class Clients:
    """A process that has imported Locust, from which the processes of each load are forked."""

    def __init__(self, launcher: subprocess.Popen[bytes], log: Path) -> None:
        self._launcher = launcher
        self._log = log

    def run(
        self,
        load: Load,
        service: Service,
        cores: Cores,
        during: Callable[[float], None] | None = None,
    ) -> Recording:
        """Load the service, and return the recordings. Raises ClientFailed or ServiceFailed.

        ``during`` is called repeatedly during the load, with the seconds since the start.
        """
        with tempfile.TemporaryDirectory(prefix="latchkey-clients-") as name:
            directory = Path(name)
            recordings = directory / "recordings"
            recordings.mkdir()
            log = directory / "locust.log"
            process = self._start(_arguments(load, service, recordings), directory, log, cores)
            status: int | None = None
            try:
                status = self._await_end(load.seconds + _START_PATIENCE, during)
            finally:
                self._end(process, ended=status is not None)
            if status is None:
                raise ClientFailed(f"Locust does not end:\n{_last_lines(log)}")
            service.require_alive()
            recording, count = read_all(recordings)
            if status != 0 or count != load.processes:
                raise ClientFailed(f"Locust ended with status {status}:\n{_last_lines(log)}")
            return recording

    def _start(self, arguments: list[str], directory: Path, log: Path, cores: Cores) -> int:
        """Start Locust; returns the id of the process that leads its process group."""
        job = {
            "arguments": arguments,
            "directory": str(directory),
            "log": str(log),
            "cores": None if cores.client is None else sorted(cores.client),
        }
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(json.dumps(job).encode() + b"\n")
        process = self._answer(_START_PATIENCE)
        if process is None:
            raise ClientFailed("Locust does not start")
        return process

    def _await_end(self, patience: float, during: Callable[[float], None] | None) -> int | None:
        """The exit status; None if it does not end in time."""
        if during is None:
            return self._answer(patience)
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) <= patience:
            during(elapsed)
            status = self._answer(_DURING_PAUSE)
            if status is not None:
                return status
        return None

    def _end(self, process: int, *, ended: bool) -> None:
        """End the remaining processes of a group: by a signal first, then by force."""
        try:
            if not ended:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
                ended = self._answer(_STOP_PATIENCE) is not None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        if not ended:
            self._answer(_STOP_PATIENCE)

    def _answer(self, patience: float) -> int | None:
        """The launcher's next line; None if there is none in time."""
        assert self._launcher.stdout is not None
        if not select.select([self._launcher.stdout], [], [], patience)[0]:
            return None
        line = self._launcher.stdout.readline()
        if not line:
            raise ClientFailed(f"the launcher of Locust ended:\n{_last_lines(self._log)}")
        return int(line)


@contextmanager
def ready() -> Iterator[Clients]:
    """Import Locust in its own process, which ends with the block, with all that it started."""
    with tempfile.TemporaryDirectory(prefix="latchkey-launcher-") as name:
        log = Path(name) / "launcher.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [*ending_with_us(), sys.executable, "-m", "benchmarks.load.launcher"],
                cwd=name,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                # Without buffering, because each answer is awaited separately.
                bufsize=0,
                # Ctrl-C interrupts the measuring process, which then ends this one.
                start_new_session=True,
            ) as launcher,
        ):
            try:
                yield Clients(launcher, log)
            finally:
                end_group(launcher, _STOP_PATIENCE)


def _arguments(load: Load, service: Service, recordings: Path) -> list[str]:
    return [
        *(f"--locustfile={LOCUSTFILE}", "--headless"),
        *("--only-summary", "--loglevel=WARNING", "--exit-code-on-error=0"),
        f"--host=http://{service.address}",
        *(f"--users={load.users}", f"--spawn-rate={load.users}"),
        *_time(load),
        f"--scenario={load.scenario}",
        *(f"--keys={load.keys}", f"--fresh-keys={load.fresh_keys}"),
        *(f"--fresh-from={load.fresh_from}", f"--most={load.most}"),
        f"--derivation-key-file={service.settings.derivation_keys_file}",
        f"--recordings={recordings}",
    ]


def _time(load: Load) -> list[str]:
    """A single process counts from its first answer; several are ended by their controller."""
    if load.processes == 1:
        return [f"--seconds={load.seconds}"]
    several = [f"--processes={load.processes}", "--master-bind-host=127.0.0.1"]
    return [*several, f"--run-time={load.seconds + 1}s"]


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
