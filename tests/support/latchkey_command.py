"""Run the ``latchkey`` command without a new process, for tests with many runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.support.forked import Piped, piped

if TYPE_CHECKING:
    from tests.support.service import Service


def run_here(
    service: Service, *arguments: str, standard_input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``latchkey`` in this process with the settings of a service."""
    # Imported here, because fastcache's tests also run without the other packages.
    from latchkey_service.cli import main
    from tests.support.migrating import MigrationHere

    output, error = io.StringIO(), io.StringIO()
    status: object = 0
    with (
        patch.dict(os.environ, service.environment(), clear=True),
        patch.object(sys, "argv", ["latchkey", *arguments]),
        patch("latchkey.store.sqlite.migrate.subprocess", MigrationHere()),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(standard_input.encode()))),
        contextlib.chdir(service.directory),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    assert isinstance(status, int)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), error.getvalue())


def run(service: Service, *arguments: str) -> str:
    """The same for a command that must succeed; returns its output."""
    done = run_here(service, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


_STANDING = """
import contextlib, io, json, sys
from latchkey_service.cli import main
for line in sys.stdin:
    sys.argv = ["latchkey", *json.loads(line)]
    output, status = io.StringIO(), 0
    with contextlib.redirect_stdout(output):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    print(json.dumps([status, output.getvalue()]), flush=True)
"""


class StandingCommand:
    """A process that runs one command after the other, without restarting the interpreter.

    Each command attaches to the shared memory, commits, publishes and detaches.
    """

    def __init__(self, process: Piped) -> None:
        self._process = process

    def __call__(self, *arguments: str) -> str:
        """Run ``latchkey``, which must succeed; returns its output."""
        print(json.dumps(arguments), file=self._process.input, flush=True)
        status, output = json.loads(self._process.output.readline())
        assert status == 0, (arguments, status, output)
        return str(output)


@contextlib.contextmanager
def standing_command(service: Service) -> Iterator[StandingCommand]:
    """A StandingCommand with the settings of a service, until the end of the block."""
    with piped(
        [], code=_STANDING, directory=service.directory, environment=service.environment()
    ) as process:
        yield StandingCommand(process)
