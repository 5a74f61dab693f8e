"""Migrations without a new interpreter, whose start takes longer than the migration.

Each takes the place of ``subprocess`` in the module that starts the child. What the child does, its
output and its errors stay those of the real one, which tests/store/test_migrate.py starts.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import DEVNULL, CompletedProcess
from typing import Any
from unittest.mock import patch

from latchkey.store.sqlite import migrate


class MigrationHere:
    """Migrates in this process, for commands that run in the process of the tests."""

    DEVNULL = DEVNULL

    def run(
        self, command: list[str], *, env: dict[str, str], **options: Any
    ) -> CompletedProcess[str]:
        """Run the child's function, as ``subprocess.run`` would run the child."""
        output, error = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, env, clear=True),
            redirect_stdout(output),
            redirect_stderr(error),
        ):
            status = migrate.main()
        return CompletedProcess(command, status, output.getvalue(), error.getvalue())


class MigrationInFork:
    """Migrates in a forked child, for processes that are forked themselves."""

    DEVNULL = DEVNULL

    def run(
        self, command: list[str], *, env: dict[str, str], **options: Any
    ) -> CompletedProcess[str]:
        """The same in a child, which shares no connection and no lock with this process."""
        streams = [os.memfd_create(name) for name in ("output", "error")]
        child = os.fork()
        if child == 0:
            status = 70
            try:
                for number, stream in enumerate(streams, 1):
                    os.dup2(stream, number)
                # A command may have redirected them in this process.
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
                os.environ.update(env)
                status = migrate.main()
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                sys.excepthook(*sys.exc_info())
                raise
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for stream in streams:
            with os.fdopen(stream, "rb") as file:
                file.seek(0)
                texts.append(file.read().decode())
        return CompletedProcess(command, status, *texts)
