"""Commands that ask for confirmation: only at a terminal, only if possible, unless --yes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from latchkey.box.segment import without_service
from latchkey.config import load_settings
from tests.support import forked
from tests.support.command_line import at_terminal, fails, made, one_line, shown
from tests.support.faults.service_processes import wait_until
from tests.support.latchkey_command import run_here
from tests.support.service import LATCHKEY, Service

PASSWORD = "correct horse battery"
REFUSED = (
    "latchkey: nothing was done: this command asks for confirmation, and standard input is not a "
    "terminal; use --yes to skip the question"
)


def contents(box: Service) -> dict[str, bytes]:
    """The contents of the files that a command must not change, by name."""
    run_here(box, "keys", "list")
    found = [path for name in ("data", "secrets") for path in (box.directory / name).iterdir()]
    return {path.name: path.read_bytes() for path in sorted(found)}


@pytest.fixture(scope="module")
def prepared(box: Service) -> Service:
    """The files of a service with an administrator and a backup."""
    create = ["admin", "create", "ada", "--password-stdin"]
    assert run_here(box, *create, standard_input=f"{PASSWORD}\n").returncode == 0
    assert run_here(box, "backup", str(box.directory / "copy.db")).returncode == 0
    return box


@pytest.fixture
def kept(prepared: Service, tmp_path: Path) -> Service:
    """A copy of these files for one test."""
    shutil.copytree(prepared.directory, tmp_path, dirs_exist_ok=True)
    return Service(tmp_path)


def state(process: forked.Forked) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def asked(box: Service, *command: str, prompt: str) -> Iterator[forked.Forked]:
    """Run a command at a terminal until it asks; its output contains no traceback."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = forked.start(
            list(command),
            directory=box.directory,
            environment=box.environment(),
            streams=(theirs, theirs, theirs),
            new_session=True,
        )
        os.close(theirs)
        screen = b""
        try:
            while prompt.encode() not in screen:
                screen += terminal.read(4096)
            # Until the command reads: a signal between the prompt and the read is handled too late.
            wait_until(lambda: state(process) == "S", "the command waits for an answer")
            yield process
            with suppress(OSError):  # the error of Linux when the other end is closed
                while chunk := terminal.read(4096):
                    screen += chunk
        finally:
            process.kill()
            process.wait()
        assert b"Aborted!" in screen
        assert b"Traceback" not in screen


def destructive(box: Service) -> list[list[str]]:
    return [
        ["keys", "revoke", made(box).api_key],
        ["admin", "remove", "ada"],
        ["restore", str(box.directory / "copy.db")],
        ["audit", "accept"],
    ]


@pytest.mark.parametrize("standard_input", ["", "y\n", "yes\n" * 10])
def test_nothing_changes_without_a_terminal(kept: Service, standard_input: str) -> None:
    commands = destructive(kept)
    before = contents(kept)
    for command in commands:
        run = run_here(kept, *command, standard_input=standard_input)
        assert (run.returncode, run.stdout) == (1, ""), command
        assert one_line(run.stderr) == REFUSED, command
    assert contents(kept) == before


def test_yes_skips_the_question(kept: Service) -> None:
    for command in destructive(kept):
        run = run_here(kept, *command, "--yes")
        assert run.returncode == 0, (command, run.stderr)


@pytest.mark.parametrize("typed", ["n\n", "\x04"])
def test_nothing_changes_after_no(kept: Service, typed: str) -> None:
    commands = destructive(kept)
    before = contents(kept)
    for command in commands:
        status, screen = at_terminal(kept, *command, prompt="[y/N]", typed=typed)
        assert status == 1, command
        assert "Aborted!" in screen
        assert "Traceback" not in screen
    assert contents(kept) == before


def test_a_new_chain_needs_a_confirmation_too(kept: Service) -> None:
    (kept.directory / "secrets" / "audit.key").unlink()
    assert one_line(fails(kept, "audit", "restart")) == REFUSED
    assert not (kept.directory / "secrets" / "audit.key").exists()
    status, screen = at_terminal(kept, "audit", "restart", prompt="[y/N]", typed="y\n")
    assert (status, "begins a new chain" in screen) == (0, True)


def test_no_question_about_an_impossible_action(kept: Service) -> None:
    revoked = made(kept).api_key
    assert run_here(kept, "keys", "revoke", revoked, "--yes").returncode == 0
    no_backup = kept.directory / "no-backup.db"
    no_backup.write_bytes(b"nothing of the kind")
    create = ["admin", "create", "ada"]
    for command, line in (
        (["keys", "revoke", revoked], "latchkey: The key is already revoked"),
        (["keys", "revoke", "ak_live_" + "0" * 22], "latchkey: No such credential"),
        (["admin", "remove", "bob"], "latchkey: name: there is no such administrator"),
        (["admin", "password", "bob"], "latchkey: name: there is no such administrator"),
        (create, "latchkey: name: is taken"),
        (["restore", str(no_backup)], f"latchkey: {no_backup} is not a backup: "),
        (["audit", "restart"], "latchkey: nothing was changed: a key exists, "),
    ):
        # If it asked, each command would report that there is no terminal.
        assert one_line(fails(kept, *command)).startswith(line)


def test_no_question_about_a_restore_while_a_service_runs(service: Service, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert run_here(service, "backup", str(copy)).returncode == 0
    said = one_line(fails(service, "restore", str(copy)))
    assert said.startswith("latchkey: nothing was changed: a service uses this database")


def test_a_service_can_start_during_the_question_of_a_revocation(kept: Service) -> None:
    pair = made(kept)
    with asked(kept, "keys", "revoke", pair.api_key, prompt="[y/N]") as process:
        # The lock that a starting service takes is free.
        with without_service(load_settings(kept.settings)):
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
    assert shown(kept, pair.api_key)["status"] == "active"


def test_nothing_changes_after_an_interrupt(kept: Service) -> None:
    commands = destructive(kept)
    before = contents(kept)
    for command in commands:
        with asked(kept, *command, prompt="[y/N]") as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 1, command
    assert contents(kept) == before


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["admin", "create", "bob"], "--password-stdin"),
        (["admin", "password", "ada"], "--password-stdin"),
        (["vendor", "instance-key", "--name", "x"], "--master-key-file"),
    ],
)
def test_a_secret_is_prompted_for_only_at_a_terminal(
    kept: Service, command: list[str], instead: str
) -> None:
    # A new session has no controlling terminal.
    run = subprocess.run(
        [LATCHKEY, *command],
        cwd=kept.directory,
        env=kept.environment(),
        input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert one_line(run.stderr).endswith(f"use {instead}")
    assert "there is no terminal to ask for the" in run.stderr


def test_no_database_is_created_before_the_password_is_typed(tmp_path: Path) -> None:
    box = Service(tmp_path)
    with asked(box, "admin", "create", "ada", prompt="Password") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
    assert not box.database.exists()
