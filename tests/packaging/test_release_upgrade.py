"""A running service of the latest release is upgraded to this version under load; with ``--long``.

Only where the checkout has the tag of the release. What a release left in its database is tested
everywhere, by tests/test_upgrade.py.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO

import pytest

import latchkey
from tests.support.faults.load import under_load
from tests.support.faults.service_processes import children, is_alive, wait_until
from tests.support.packaging.environment import (
    ROOT,
    Environment,
    build_wheel,
    install_from_registry,
)
from tests.support.recorded import latest_tag, memory_layout, read
from tests.support.service import Pair, Process, Service

pytestmark = pytest.mark.timeout(3600)


class InstalledService(Service):
    """A service whose processes are those of an environment."""

    def __init__(self, directory: Path, environment: Environment) -> None:
        super().__init__(directory)
        self.installed = environment

    def run_installed(self, *arguments: str) -> str:
        """The output of a command of the environment; fails if the command does."""
        done = self.installed.run("latchkey", *arguments, directory=self.directory, **self.settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def initialize(self) -> str:
        return self.run_installed("init")

    def serve(self, log: BinaryIO) -> Process:
        return subprocess.Popen(
            [self.installed.program("latchkey"), "serve"],
            cwd=self.directory,
            env=self.installed.variables(**self.settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    @property
    def version(self) -> str:
        document = self.get("/openapi.json").json
        return str(document["info"]["version"])


def test_a_running_release_is_upgraded_under_load(tmp_path: Path, long: bool) -> None:
    tag = latest_tag()
    if tag is None or not long:
        return
    environment = install_from_registry(
        tmp_path / "environment", release_wheel(tag, tmp_path / "release"), extra="service"
    )
    wheel = build_wheel(tmp_path / "present", compiled=False)
    (tmp_path / "instance").mkdir()
    service = InstalledService(tmp_path / "instance", environment)
    recorded = ROOT / "tests" / "data" / "upgrade" / tag.removeprefix("v")
    joins = read(recorded).layout == memory_layout()[0]
    with service:
        made = json.loads(
            service.run_installed("keys", "create", "--name", "a", "--mode", "live", "--json")
        )
        pair = Pair(made["api_key"], made["api_secret"])
        assert service.version == tag.removeprefix("v")
        assert service.process is not None
        if not joins:
            restarted_with(service, pair, wheel, tmp_path)
            return
        old = service.process.pid
        with under_load(service, lambda: pair, pause=0.01) as load:
            upgrade(environment, wheel, directory=tmp_path)
            before = set(children(old))
            listening = service.log.count("Listening at")
            os.kill(old, signal.SIGUSR2)
            wait_until(lambda: service.log.count("Listening at") > listening, "the second master")
            (new,) = set(children(old)) - before
            wait_until(lambda: len(children(new)) == 2, "its workers")
            service.process.terminate()
            service.process.wait(60)
        try:
            assert load.broken == 0
            assert set(load.statuses) == {200}
            used = json.loads(service.run_installed("keys", "usage", pair.api_key, "--json"))
            assert used["requests"] == load.answered
            service.run_installed("audit", "verify")
        finally:
            os.kill(new, signal.SIGTERM)
            wait_until(lambda: not is_alive(new), "the second master's end")


def restarted_with(service: InstalledService, pair: Pair, wheel: Path, directory: Path) -> None:
    """The way of upgrading if the layout of shared memory differs: stop, install, start."""
    with under_load(service, lambda: pair, pause=0.01) as load:
        wait_until(lambda: load.answered > 100, "some requests")
    service.stop()
    upgrade(service.installed, wheel, directory=directory)
    service.start()
    assert service.version == latchkey.__version__
    assert service.get("/v1/account", pair.bearer).status == 200
    used = json.loads(service.run_installed("keys", "usage", pair.api_key, "--json"))
    assert used["requests"] == load.answered + 1
    service.run_installed("audit", "verify")


def release_wheel(tag: str, directory: Path) -> Path:
    """Build the wheel of a tag, with what pip installs for the build."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", tag], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as file:
        file.extractall(directory, filter="data")
    return build_wheel(directory / "built", compiled=False, checkout=directory)


def upgrade(environment: Environment, wheel: Path, *, directory: Path) -> None:
    """Install the present version in the place of the release."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", environment.python, "--quiet", "install"),
            *("--constraint", ROOT / "constraints.txt", f"{wheel}[service]"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
