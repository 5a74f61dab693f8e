"""The ``latchkey`` command within the tests' own process: for many cases that end early."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING
from unittest.mock import patch

from app.cli import main

if TYPE_CHECKING:
    from tests.service import Service


def run_here(
    service: Service, *arguments: str, standard_input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``latchkey`` with the service's settings; a process of its own only starts slower."""
    output, error = io.StringIO(), io.StringIO()
    status: object = 0
    with (
        patch.dict(os.environ, service.environment(), clear=True),
        patch.object(sys, "argv", ["latchkey", *arguments]),
        patch.object(sys, "stdin", io.StringIO(standard_input)),
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
