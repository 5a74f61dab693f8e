"""Runs Locust against a service, in processes of its own, and brings back what it noted."""

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

_START_PATIENCE = 60.0
_STOP_PATIENCE = 15.0
_DURING_PAUSE = 0.25


class ClientFailed(RuntimeError):
    """Locust did not run to its end; the last lines of its output are the message."""


@dataclass(frozen=True)
class Load:
    """What the clients do."""

    scenario: Scenario
    seconds: int
    """How long they ask, at most."""
    users: int
    """Clients, each on a connection of its own and with one request at a time."""
    keys: int = 1
    """Credentials in use."""
    fresh_keys: int = 0
    """Credentials that each process may present once, or revoke."""
    fresh_from: int = 0
    """The first number of those."""
    processes: int = 1
    """Processes of Locust; more than one are driven by one more that sends nothing."""
    most: int = 0
    """Requests after which each process ends; 0 for no such limit."""


class Clients:
    """Locust, imported and ready: each load gets processes of its own, forked from one."""

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
        """Load the service, and return what was noted. Raises ClientFailed, ServiceFailed.

        ``during`` is called again and again while clients ask, with the seconds since the start.
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
                raise ClientFailed(f"it does not end:\n{_last_lines(log)}")
            service.require_alive()
            recording, count = read_all(recordings)
            if status != 0 or count != load.processes:
                raise ClientFailed(f"it ended with {status}:\n{_last_lines(log)}")
            return recording

    def _start(self, arguments: list[str], directory: Path, log: Path, cores: Cores) -> int:
        """The number of the process that leads the new group."""
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
            raise ClientFailed("it does not start")
        return process

    def _await_end(self, patience: float, during: Callable[[float], None] | None) -> int | None:
        """The exit status; None where there is none in time."""
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
        """End what still runs of a group: as asked, or by force."""
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
        """The launcher's next line; None where there is none in time."""
        assert self._launcher.stdout is not None
        if not select.select([self._launcher.stdout], [], [], patience)[0]:
            return None
        line = self._launcher.stdout.readline()
        if not line:
            raise ClientFailed(f"what starts Locust ended:\n{_last_lines(self._log)}")
        return int(line)


@contextmanager
def ready() -> Iterator[Clients]:
    """Import Locust in a process of its own; that and what it started is gone after the block."""
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
                # Each answer is waited for by itself.
                bufsize=0,
                # Ctrl-C is for whoever measures; that ends this in turn.
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
    """One process counts from its first answer; several are told to end by the one above them."""
    if load.processes == 1:
        return [f"--seconds={load.seconds}"]
    several = [f"--processes={load.processes}", "--master-bind-host=127.0.0.1"]
    return [*several, f"--run-time={load.seconds + 1}s"]


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
