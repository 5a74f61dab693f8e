"""Boxes for a measurement: services with their own shared memory, on one database."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.boxes.plan import WORKERS
from benchmarks.load.processes import Cores, children
from benchmarks.load.service import Service, clean_environment, free_port, started
from latchkey.config import Settings, load_settings, variable

_MEMORY: Path = Settings.model_fields["shared_memory"].default
LATCHKEY = str(Path(sys.executable).with_name("latchkey"))


class Box:
    """One service, asked on one kept connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        host, _, port = service.address.rpartition(":")
        self._connection = HTTPConnection(host, int(port), timeout=60)

    def ask(
        self, method: str, path: str, secret: str, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer."""
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop all of its processes during the block, as if its machine were paused."""
        pids = [self._service.process.pid, *children(self._service.process.pid)]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def boxes(url: str, count: int, lease: float) -> Iterator[tuple[list[Box], str]]:
    """Running boxes, and the secret of a key that may change others."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-boxes-")))
        memory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="latchkey-boxes-", dir=_MEMORY)
        )
        found: list[Box] = []
        for number in range(count):
            place, own = directory / f"box{number}", Path(memory) / f"box{number}"
            place.mkdir()
            own.mkdir()
            (place / "audit").mkdir(mode=0o700)
            environment = _environment(url, place, own, lease)
            if number:
                # All boxes derive, prove and seal with the same keys.
                shutil.copytree(directory / "box0" / "secrets", place / "secrets")
            else:
                _command(environment, place, "init")
            settings = load_settings(environment)
            serve = [LATCHKEY, "serve"]
            box = Box(
                stack.enter_context(started(settings, environment, serve, place, Cores.together()))
            )
            stack.callback(box.close)
            found.append(box)
        made = _command(
            _environment(url, directory / "box0", Path(memory) / "box0", lease),
            directory / "box0",
            *("keys", "create", "--name", "benchmark", "--mode", "live", "--json"),
        )
        yield found, str(json.loads(made)["api_secret"])


def _environment(url: str, place: Path, memory: Path, lease: float) -> dict[str, str]:
    return {
        variable("database_url"): url,
        variable("derivation_keys_file"): str(place / "secrets" / "derivation.key"),
        variable("audit_key_file"): str(place / "secrets" / "audit.key"),
        variable("audit_head_file"): str(place / "audit" / "head"),
        variable("shared_memory"): str(memory),
        variable("bind"): f"127.0.0.1:{free_port()}",
        variable("workers"): str(WORKERS),
        variable("failure_limit"): "off",
        variable("log_level"): "warning",
        variable("lease"): f"{lease:g}",
        variable("box_name"): place.name,
    }


def _command(environment: Mapping[str, str], place: Path, *arguments: str) -> str:
    done = subprocess.run(
        [LATCHKEY, *arguments],
        cwd=place,
        env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
