"""Runs of the command line with the files of a service, and checks of their output."""

from __future__ import annotations

import json
import os
import pty
import termios
from typing import Any

from tests.support import forked
from tests.support.faults.service_processes import wait_until
from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service


def fails(box: Service, *arguments: str, status: int = 1) -> str:
    """The message of a command that must fail: only on standard error, without a traceback."""
    run = run_here(box, *arguments)
    assert (run.returncode, run.stdout) == (status, "")
    return run.stderr


def one_line(text: str) -> str:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text[:-1]


def made(box: Service, mode: str = "live", *options: str, name: str = "test") -> Pair:
    """Create a credential without a new process."""
    return box.create_key(mode, *options, name=name)


def listed(box: Service, *options: str) -> list[dict[str, Any]]:
    rows = json.loads(run_here(box, "keys", "list", "--json", *options).stdout)["credentials"]
    assert isinstance(rows, list)
    return rows


def shown(box: Service, api_key: str) -> dict[str, Any]:
    fields = json.loads(run_here(box, "keys", "show", api_key, "--json").stdout)
    assert isinstance(fields, dict)
    return fields


def at_terminal(
    box: Service, *arguments: str, prompt: str, typed: str, hidden: bool = False
) -> tuple[int, str]:
    """Run a command at a pseudo-terminal and type when it asks; returns status and output.

    ``hidden`` is for a prompt that does not show what is typed.
    """
    ours, theirs = pty.openpty()
    screen = b""
    process = forked.start(
        list(arguments),
        directory=box.directory,
        environment=box.environment(),
        streams=(theirs, theirs, theirs),
        # Without the terminal of the test run, from which a secret would be read.
        new_session=True,
    )
    os.close(theirs)
    try:
        while prompt.encode() not in screen:
            screen += os.read(ours, 4096)
        if hidden:
            # The prompt comes first; then the command discards what was typed until here.
            wait_until(lambda: not termios.tcgetattr(ours)[3] & termios.ECHO, "a hidden prompt")
        os.write(ours, typed.encode())
        while chunk := os.read(ours, 4096):
            screen += chunk
    except OSError:
        pass  # the error of Linux when the other end is closed
    finally:
        os.close(ours)
        try:
            status = process.wait(60)
        finally:
            process.kill()
    return status, screen.decode()
