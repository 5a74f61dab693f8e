"""The Dockerfile: what it copies, and its last stage's program, environment and health check.

No container engine runs here. The program runs as process 1 of a namespace, with the environment
and in a directory of the kind that the last stage describes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.dockerfile import BUILD, DOCKERFILE, FINAL, last
from tests.support.ports import free_port
from tests.support.service import LATCHKEY

ROOT = Path(__file__).parents[2]
HADOLINT = Path(sys.executable).with_name("hadolint")


def environment(**more: str) -> dict[str, str]:
    """The variables of the last stage, with the programs of this environment in the path."""
    given = dict(re.findall(r"(\w+)=(\S+)", last("ENV")))
    assert given.pop("PATH") == "/opt/latchkey/bin:$PATH"
    return {**given, "PATH": f"{LATCHKEY.parent}:/usr/bin:/bin", "LANG": "C.UTF-8", **more}


@pytest.mark.skipif(not HADOLINT.exists(), reason="needs hadolint, of the extra `lint`")
def test_hadolint_accepts_it() -> None:
    done = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_builder_is_sent_only_what_is_copied() -> None:
    """Everything is excluded first: no key, no database and no history can get into a layer."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name for instruction, rest in BUILD if instruction == "COPY" for name in rest.split()[:-1]
    }
    assert sent == copied
    assert all((ROOT / name).exists() for name in copied)
    assert [rest for instruction, rest in FINAL if instruction == "COPY"] == [
        "--from=build /opt/latchkey /opt/latchkey"
    ]


def test_no_secret_is_in_a_layer() -> None:
    text = " ".join(rest for stage in (BUILD, FINAL) for _, rest in stage)
    assert not re.search(r"[0-9a-f]{32}|[as]k_(live|test)_|latchkey init", text)
    assert not re.search(r"ARG|DERIVATION|AUDIT_KEY", text)
    assert last("VOLUME") == '["/var/lib/latchkey/data", "/var/lib/latchkey/secrets"]'


def test_the_images_are_pinned_to_a_release_of_python() -> None:
    images = [stage[0][1].split()[0] for stage in (BUILD, FINAL)]
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", images[0])


def test_the_service_has_a_user_of_its_own() -> None:
    user, _, group = last("USER").partition(":")
    assert user == group
    assert int(user) >= 10000
    (made,) = [rest for instruction, rest in FINAL if instruction == "RUN"]
    assert f"--uid {user} --gid {group}" in made


class Container:
    """The program of the last stage, as process 1 of a process namespace, on a free port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        for volume in json.loads(last("VOLUME")):
            (directory / Path(volume).relative_to(last("WORKDIR"))).mkdir(mode=0o700)
        bind = environment()["LATCHKEY_BIND"]
        self.environment = environment(
            LATCHKEY_BIND=bind.replace("8080", str(self.port)), LATCHKEY_WORKERS="2"
        )
        self.log = directory / "log"

    def run(self, *arguments: str, beside: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, as `docker run --rm` or, beside a process, `docker exec`."""
        return subprocess.run(
            [*(("nsenter", f"--target={beside}", "--pid") if beside else ()), *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def health(self) -> int:
        """The exit status of the health check."""
        _, _, command = last("HEALTHCHECK").partition("CMD ")
        words = [word.replace("8080", str(self.port)) for word in json.loads(command)]
        return self.run(*words).returncode

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """The service, until it has ended; yields the process that stands for its container."""
        command = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", *command],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(60)

    def first_process(self, unshare: int) -> int:
        """The number that process 1 of the namespace has outside."""
        children = Path(f"/proc/{unshare}/task/{unshare}/children")
        deadline = time.monotonic() + 30
        while not (found := children.read_text().split()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(found[0])


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare"
)
@pytest.mark.timeout(300)
def test_the_program_serves_as_process_one(tmp_path: Path) -> None:
    box = Container(tmp_path)
    assert box.run("latchkey", "serve").returncode == 1, "there is no key yet"
    printed = box.run("latchkey", "init").stdout
    secret = re.search(r"sk_live_\w+", printed)
    assert secret is not None
    assert box.health() == 1
    with box.started() as process:
        deadline = time.monotonic() + 60
        while box.health() != 0:
            assert time.monotonic() < deadline, box.log.read_text()
            time.sleep(0.1)
        first = box.first_process(process.pid)
        ids = re.search(r"NSpid:\s+\d+\s+(\d+)", Path(f"/proc/{first}/status").read_text())
        assert ids is not None
        assert ids[1] == "1"
        connection = HTTPConnection("127.0.0.1", box.port, timeout=60)
        connection.request("GET", "/v1/account", headers={"Authorization": f"Bearer {secret[0]}"})
        assert connection.getresponse().status == 200
        connection.close()
        made = box.run("latchkey", "keys", "create", "--name", "more", beside=first)
        assert (made.returncode, made.stderr) == (0, "")
        os.kill(first, getattr(signal, last("STOPSIGNAL")))
        assert process.wait(60) == 0
    assert box.health() == 1
    assert "Traceback" not in box.log.read_text()
