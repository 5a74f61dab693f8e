"""Runs Locust against a service, in processes of its own, and brings back what it noted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.processes import Cores, running_on
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
    """Requests after which they end; 0 for no such limit."""


def run(
    load: Load, service: Service, cores: Cores, during: Callable[[float], None] | None = None
) -> Recording:
    """Load the service, and return what was noted. Raises ClientFailed, ServiceFailed.

    ``during`` is called again and again while clients ask, with the seconds since the start.
    """
    with tempfile.TemporaryDirectory(prefix="latchkey-clients-") as name:
        directory = Path(name)
        recordings = directory / "recordings"
        recordings.mkdir()
        log = directory / "locust.log"
        with log.open("wb") as output, running_on(cores.client):
            process = subprocess.Popen(
                [*ending_with_us(), *_command(load, service, recordings)],
                cwd=directory,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _await_end(process, load.seconds + _START_PATIENCE, during)
        except subprocess.TimeoutExpired:
            raise ClientFailed(f"it does not end:\n{_last_lines(log)}") from None
        finally:
            end_group(process, _STOP_PATIENCE)
        service.require_alive()
        recording, count = read_all(recordings)
        if process.returncode != 0 or count != load.processes:
            raise ClientFailed(f"it ended with {process.returncode}:\n{_last_lines(log)}")
        return recording


def _await_end(
    process: subprocess.Popen[bytes], patience: float, during: Callable[[float], None] | None
) -> None:
    if during is None:
        process.wait(patience)
        return
    ended = threading.Event()
    began = time.monotonic()
    while process.poll() is None:
        elapsed = time.monotonic() - began
        if elapsed > patience:
            raise subprocess.TimeoutExpired(process.args, patience)
        during(elapsed)
        ended.wait(0.25)


def _command(load: Load, service: Service, recordings: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", f"--locustfile={LOCUSTFILE}", "--headless"),
        *("--only-summary", "--loglevel=WARNING", "--exit-code-on-error=0"),
        f"--host=http://{service.address}",
        *(f"--users={load.users}", f"--spawn-rate={load.users}"),
        *_time(load),
        f"--scenario={load.scenario}",
        *(f"--keys={load.keys}", f"--fresh-keys={load.fresh_keys}"),
        *(f"--fresh-from={load.fresh_from}", f"--most={load.most}"),
        f"--derivation-key-file={service.settings.derivation_key_file}",
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
