"""A real service for tests: the ``latchkey`` command, gunicorn, SQLite, sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from tests.support import forked
from tests.support.latchkey_command import run_here
from tests.support.ports import free_port
from tests.support.service_database import OnPostgresql, ServiceDatabase, SqliteFile

LATCHKEY = Path(sys.executable).with_name("latchkey")
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 40.0
_UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]

Process = subprocess.Popen[bytes] | forked.Forked

NewRows = Callable[[], OnPostgresql | None]
"""Makes the database of a new service on PostgreSQL; None on SQLite, where it is a new file."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response: the status, the headers by lower-case name, the bytes of the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error in the envelope."""
        return str(self.json["error"]["code"])


@dataclass(frozen=True)
class Pair:
    """A key and its secret, for a client."""

    api_key: str
    api_secret: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header of the bearer scheme."""
        return {"Authorization": f"Bearer {self.api_secret}"}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the pair scheme."""
        return {"X-Api-Key": self.api_key, "X-Api-Secret": self.api_secret}


class Service:
    """A service in its own directory. ``settings`` are LATCHKEY_* names and values.

    ``unprivileged`` runs it so that file permissions apply, even if the tests run as root.
    ``on`` is a migrated database of PostgreSQL, in place of a SQLite file, and ``rows`` is the
    database of either kind. ``log_path`` is its log: standard output and standard error.
    """

    def __init__(
        self,
        directory: Path,
        unprivileged: bool = False,
        on: Any = None,
        **settings: str,
    ) -> None:
        self.directory = directory
        # Drop root's capabilities instead of changing the user: another user may be unable to reach
        # the interpreter.
        drop = unprivileged and os.geteuid() == 0
        self.prefix = list(_UNPRIVILEGED) if drop else []
        self.database = directory / "data" / "latchkey.db"
        self.rows: ServiceDatabase = on or SqliteFile(self.database)
        self._is_made = False
        self.log_path = directory / "service.log"
        self.port = free_port()
        self.settings = {
            "LATCHKEY_DATABASE_URL": f"sqlite:///{self.database}",
            "LATCHKEY_DERIVATION_KEYS_FILE": str(directory / "secrets" / "derivation.key"),
            "LATCHKEY_AUDIT_KEY_FILE": str(directory / "secrets" / "audit.key"),
            "LATCHKEY_AUDIT_HEAD_FILE": str(directory / "secrets" / "audit.head"),
            "LATCHKEY_BIND": f"127.0.0.1:{self.port}",
            "LATCHKEY_WORKERS": "2",
            **({"LATCHKEY_DATABASE_URL": on.url()} if on else {}),
            **settings,
        }
        self.process: Process | None = None
        # The process that was seen with all its workers.
        self.complete: Process | None = None
        self._issuers: dict[str, Pair] = {}

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Create the missing files (once), serve, and wait until the service responds."""
        if not self.is_initialized:
            self.initialize()
        with self.log_path.open("ab") as log:
            self.process = self.serve(log)
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                if self.get("/health").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the service did not start:\n{self.log}")
            time.sleep(0.05)

    @property
    def is_initialized(self) -> bool:
        """Whether its database and its keys exist."""
        return self._is_made or self.database.exists()

    def initialize(self) -> str:
        """Run ``init`` over a database that a test run migrates once; returns its output.

        This creates the keys, the first credentials and the set-up link.
        """
        # Imported here, because not all test runs have the application.
        from tests.support.database import new_database

        self._is_made = True
        if isinstance(self.rows, SqliteFile):
            self.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new_database(self.database)
        return self._prepare("init")

    def serve(self, log: BinaryIO) -> Process:
        """Start the server process."""
        if self._is_forked:
            return self.run(self.code, ["serve"], log)
        return subprocess.Popen(
            [*self.prefix, str(LATCHKEY), "serve"],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def run(self, code: str, arguments: list[str], log: BinaryIO) -> Process:
        """Run code with the settings of the service."""
        with open(os.devnull, "rb") as nothing:
            return forked.start(
                arguments,
                code=code,
                directory=self.directory,
                environment=self.environment(),
                streams=(nothing.fileno(), log.fileno(), log.fileno()),
                unprivileged=bool(self.prefix),
            )

    @property
    def _is_forked(self) -> bool:
        """Whether no program but a forked process has to start its processes."""
        return self.prefix in ([], _UNPRIVILEGED)

    def stop(self) -> None:
        """Stop it like an operator, and kill it after a while."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def code(self) -> str:
        """The code of its processes, which runs the command."""
        return forked.COMMAND

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def environment(self) -> dict[str, str]:
        """The environment of the service's processes: the inherited one, with these settings."""
        ours = {name: value for name, value in os.environ.items() if name[:9] != "LATCHKEY_"}
        return {**ours, **self.settings}

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``latchkey`` with the settings of the service, in a new process."""
        if not self._is_forked:
            return self.executed(*arguments, check=check)
        with (
            open(os.devnull, "rb") as nothing,
            TemporaryFile("w+") as output,
            TemporaryFile("w+") as error,
        ):
            process = forked.start(
                list(arguments),
                code=self.code,
                directory=self.directory,
                environment=self.environment(),
                streams=(nothing.fileno(), output.fileno(), error.fileno()),
                unprivileged=bool(self.prefix),
            )
            try:
                status = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            # The process wrote with the same file offsets.
            for file in (output, error):
                file.seek(0)
            done = subprocess.CompletedProcess(arguments, status, output.read(), error.read())
        if check:
            done.check_returncode()
        return done

    def executed(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The same as an executable, started by a shell: slower, but completely real."""
        return subprocess.run(
            [*self.prefix, LATCHKEY, *arguments],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            timeout=60,
        )

    def create_key(self, mode: str = "live", *options: str, name: str = "test") -> Pair:
        """Create a credential on the command line; ``options`` such as ``--scope``."""
        return _pair(
            self._prepare("keys", "create", "--name", name, "--mode", mode, "--json", *options)
        )

    def issue(self, mode: str = "live", **terms: object) -> Pair:
        """Create a credential over HTTP with a full-access key, which is faster than a command."""
        made = self.request(
            "POST", "/v1/api_keys", self._issuer(mode).bearer, json_body={"name": "test", **terms}
        )
        if made.status != 201:
            raise RuntimeError(f"not issued: {made}")
        return Pair(made.json["api_key"], made.json["api_secret"])

    def usage(self, pair: Pair) -> Any:
        """The usage of a live key, as the API reports it."""
        asked = self.get(f"/v1/api_keys/{pair.api_key}/usage", self._issuer("live").bearer)
        if asked.status != 200:
            raise RuntimeError(f"no usage: {asked}")
        return asked.json

    def _issuer(self, mode: str) -> Pair:
        if mode not in self._issuers:
            # It sees the keys of all accounts, and does not pass that on.
            scopes = ("--scope", "*", "--scope", "accounts:read")
            self._issuers[mode] = self.create_key(mode, *scopes, name="issuer")
        return self._issuers[mode]

    def derive_pair(self, mode: str = "live") -> Pair:
        """A key pair as a vendor derives it, without registering it."""
        return _pair(self._prepare("vendor", "generate", "--mode", mode, "--json"))

    def _prepare(self, *arguments: str) -> str:
        """Run a command without a new process; returns its output."""
        run = run_here(self, *arguments)
        if run.returncode != 0:
            raise RuntimeError(f"latchkey {' '.join(arguments)}: {run.stderr}")
        return run.stdout

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers)

    def request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        json_body: object = None,
        body: bytes | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        """Send one request on a new connection; ``json_body`` is sent as JSON."""
        headers = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connection(timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def connection(self, timeout: float) -> HTTPConnection:
        """A connection that has not been opened yet; ``timeout`` is in seconds."""
        return HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def send_raw(self, data: bytes, timeout: float = 60.0) -> Answer:
        """Send raw bytes that no client library would send, and read one complete response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            # After an early refusal, the connection may already be closed.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        named = {name.lower(): value for name, value in headers.items()}
        return Answer(int(status_line.split()[1]), named, body[: int(named["content-length"])])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric with these labels, over all workers."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(
                f'{label}="{value}"' in line for label, value in labels.items()
            ):
                total += float(line.rsplit(" ", 1)[1])
        return total


def _pair(printed: str) -> Pair:
    fields = json.loads(printed)
    return Pair(fields["api_key"], fields["api_secret"])
