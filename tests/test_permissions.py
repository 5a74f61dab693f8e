"""Excessive permissions: refused in one line, or served with a warning for each."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from latchkey.config import load_settings
from latchkey.permissions import weaknesses
from tests.support.faults.service_processes import wait_until
from tests.support.other_users import NOBODY, as_root
from tests.support.service import Service


@pytest.fixture
def box(tmp_path: Path) -> Service:
    tmp_path.chmod(0o700)
    made = Service(tmp_path, LATCHKEY_WORKERS="1")
    made.initialize()
    made.command("keys", "create", "--name", "one")
    return made


def wide_open(box: Service) -> dict[Path, int]:
    """Files and directories whose mode must cause a warning."""
    return {
        box.database: 0o666,
        box.database.with_name("latchkey.db-service"): 0o644,
        box.directory / "secrets" / "audit.head": 0o644,
        box.directory / "secrets" / "audit.head.lock": 0o604,
        box.directory / "secrets": 0o777,
        box.database.parent: 0o777,
        box.directory: 0o757,
    }


def test_each_has_a_warning_at_the_start_whose_remedy_works(box: Service) -> None:
    for path, mode in wide_open(box).items():
        path.chmod(mode)
    with box:
        said = [line for line in box.log.splitlines() if "[WARNING]" in line]
        for path, mode in wide_open(box).items():
            (line,) = [line for line in said if f" {path} has mode {mode:04o}" in line]
            subprocess.run(shlex.split(line.rpartition(": ")[2]), check=True)
        # Created while the service runs, with the mode of the database.
        for suffix in ("-wal", "-shm"):
            box.database.with_name(f"latchkey.db{suffix}").chmod(0o600)
        assert weaknesses(load_settings(box.settings)) == []
        assert box.process is not None
        started = len(box.log)
        box.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "Booting worker" in box.log[started:], "a new worker")
        assert "[WARNING]" not in box.log[started:]


def test_the_write_ahead_log_is_checked_too(box: Service) -> None:
    for suffix in ("-wal", "-shm"):
        path = box.database.with_name(f"latchkey.db{suffix}")
        path.touch(mode=0o600)
        path.chmod(0o640)
        (line,) = weaknesses(load_settings(box.settings))
        assert line.startswith(f"{path} has mode 0640")
        path.chmod(0o600)


def test_the_directory_of_a_socket_is_checked_too(box: Service) -> None:
    """A user who can replace the socket receives the requests, with their secrets."""
    directory = box.directory / "run"
    directory.mkdir()
    directory.chmod(0o777)
    box.settings["LATCHKEY_BIND"] = f"127.0.0.1:0,unix:{directory.name}/http.sock"
    with contextlib.chdir(box.directory):
        (line,) = weaknesses(load_settings(box.settings))
    assert line.startswith(f"{directory} has mode 0777")


@pytest.mark.parametrize("name", ["audit.key", "derivation.key"])
@pytest.mark.parametrize("spoil", ["0644", "0000 content", "a pipe", "a directory"])
def test_an_unusable_key_stops_the_start_with_one_line(box: Service, name: str, spoil: str) -> None:
    path = box.directory / "secrets" / name
    if spoil == "0644":
        path.chmod(0o644)
    elif spoil == "0000 content":
        path.write_text("0000\n")
    else:
        path.unlink()
        os.mkfifo(path, 0o600) if spoil == "a pipe" else path.mkdir()
    done = box.command("serve", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(path) in line
    if spoil == "0644":
        assert line.endswith(f"chmod 600 {path}")


@as_root
@pytest.mark.parametrize("name", ["audit.key", "derivation.key"])
def test_a_key_that_another_user_could_have_planted_is_not_used(box: Service, name: str) -> None:
    path = box.directory / "secrets" / name
    path.parent.chmod(0o1777)
    os.chown(path, NOBODY, NOBODY)
    done = box.command("serve", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    setting = f"LATCHKEY_{'AUDIT_KEY' if name == 'audit.key' else 'DERIVATION_KEYS'}_FILE"
    assert f"{path} ({setting}): belongs to user nobody" in line
    assert line.endswith(f"chown root {path}")


def test_an_audit_key_that_breaks_while_serving_does_not_stop_a_reload(box: Service) -> None:
    with box:
        box.issue()
        (box.directory / "secrets" / "audit.key").chmod(0o644)
        assert box.process is not None
        box.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the key files were not reloaded" in box.log, "the reload")
        wait_until(lambda: "Worker exiting" in box.log, "the end of a worker")
        assert box.issue().api_key
        assert "Traceback" not in box.log
