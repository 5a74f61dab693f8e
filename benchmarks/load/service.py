"""A service for load tests: gunicorn with its own database, key file and port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal

from benchmarks.load.credentials import read_derivation_key
from benchmarks.load.processes import Cores, children, running_on, workers_cpu_seconds
from benchmarks.load.seeding import seed
from latchkey.box.segment import segment_path
from latchkey.config import Settings, load_settings, variable
from latchkey.errors import ServiceUnreachable
from latchkey.key_files import make_audit_key_file
from latchkey.store.sqlite.location import database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey_service.first_start import make_derivation_key_file

Application = Literal["service", "twins", "verify", "limits"]

_START_PATIENCE = 120.0
_STOP_PATIENCE = 60.0
_PAUSE = 0.02


class ServiceFailed(RuntimeError):
    """The service did not start, or ended unexpectedly; the message has its last log lines."""


class Service:
    """A running service. ``settings`` are those with which it was started."""

    def __init__(self, settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
        self.settings = settings
        self.process = process
        self._log = log

    @property
    def address(self) -> str:
        """Host and port."""
        return self.settings.bind

    @property
    def workers(self) -> list[int]:
        """The running worker processes."""
        return children(self.process.pid)

    @property
    def segment(self) -> Path:
        """The file of the shared memory."""
        return segment_path(self.settings)

    def cpu_seconds(self) -> float:
        """CPU seconds of all workers since the start, including those that have ended."""
        return workers_cpu_seconds(self.process.pid)

    def recycle(self) -> None:
        """Replace every worker, as after a change of settings."""
        self.process.send_signal(signal.SIGHUP)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Send a request on its own connection; returns the status and the body."""
        host, _, port = self.address.rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def counters(self) -> dict[str, float]:
        """Every sample of ``/metrics``, by its printed name and labels."""
        status, text = self.get("/metrics")
        if status != 200:
            raise ServiceFailed(f"/metrics answered {status}")
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(figure) for name, _, figure in lines}

    def await_start(self) -> None:
        """Wait until it answers; raises ServiceFailed after a timeout."""
        until = time.monotonic() + _START_PATIENCE
        while True:
            try:
                if self.get("/health")[0] == 200:
                    return
            except (OSError, HTTPException):
                pass
            self.require_alive()
            if time.monotonic() > until:
                raise ServiceFailed(f"the service does not answer:\n{self._last_lines()}")
            time.sleep(_PAUSE)

    def require_alive(self) -> None:
        """Raise ServiceFailed if it has ended unexpectedly."""
        status = self.process.poll()
        if status is not None:
            raise ServiceFailed(f"the service ended with status {status}:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


@contextmanager
def running(
    numbers: Iterable[int] = (),
    *,
    application: Application = "service",
    cores: Cores,
    real_every: int = 1,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Service]:
    """Start a service with the credentials of these numbers; it ends with the block.

    ``settings`` are named as in `latchkey.config.Settings`.
    """
    with tempfile.TemporaryDirectory(prefix="latchkey-load-") as name:
        directory = Path(name)
        environment = {
            variable("database_url"): database_url(directory / "data" / "load.db"),
            variable("derivation_keys_file"): str(directory / "secrets" / "derivation.key"),
            variable("audit_key_file"): str(directory / "secrets" / "audit.key"),
            variable("audit_head_file"): str(directory / "audit" / "head"),
            variable("bind"): f"127.0.0.1:{free_port()}",
            variable("workers"): "1",
            variable("failure_limit"): "off",
            variable("log_level"): "warning",
            **{variable(field): str(given) for field, given in (settings or {}).items()},
        }
        loaded = load_settings(environment)
        make_derivation_key_file(loaded)
        make_audit_key_file(loaded, migrate(loaded.database_url).audit_rows)
        maker = read_derivation_key(loaded.derivation_keys_file)
        seed(loaded.database_url, maker, numbers, real_every)
        with started(
            loaded, environment, _command(application, loaded), directory, cores
        ) as service:
            yield service


@contextmanager
def started(
    settings: Settings,
    environment: Mapping[str, str],
    command: Sequence[str],
    directory: Path,
    cores: Cores,
) -> Iterator[Service]:
    """A service whose database and key files exist, until the end of the block."""
    log = directory / "service.log"
    with log.open("wb") as output, running_on(cores.server):
        process = subprocess.Popen(
            [*ending_with_us(), *command],
            cwd=directory,
            env=clean_environment() | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C interrupts the measuring process, which then ends this one.
            start_new_session=True,
        )
    service = Service(settings, process, log)
    try:
        service.await_start()
        yield service
    finally:
        end_group(process, _STOP_PATIENCE)
        with suppress(ServiceUnreachable):
            service.segment.unlink(missing_ok=True)


def clean_environment() -> dict[str, str]:
    """The environment for measured programs: our import path, without the caller's settings."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    # Not resolved: the directory may contain only a link to the benchmarks.
    path = str(Path(__file__).absolute().parents[2])
    return {**found, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def ending_with_us() -> list[str]:
    """The start of a command that is ended when this process is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def end_group(process: subprocess.Popen[bytes], patience: float) -> None:
    """End a process that leads a session and all that it started: by a signal, then by force."""
    try:
        process.terminate()
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


_MODULES = {
    "twins": "benchmarks.load.twins",
    "verify": "benchmarks.verify.application",
    "limits": "benchmarks.limits.application",
}


def _command(application: Application, settings: Settings) -> list[str]:
    if application == "service":
        return [str(Path(sys.executable).with_name("latchkey")), "serve"]
    return [
        *(sys.executable, "-m", "gunicorn", "--worker-class=gthread", "--keep-alive=30"),
        *(f"--workers={settings.workers}", f"--threads={settings.threads}"),
        *(f"--bind={settings.bind}", "--no-control-socket", "--log-level=warning"),
        f"{_MODULES[application]}:application",
    ]


def free_port() -> int:
    """A port on 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
