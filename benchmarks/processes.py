"""Fresh processes for measurements, without settings of the caller that affect Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


class ProcessFailed(RuntimeError):
    """A measuring process failed; the message ends with its output."""


def environment() -> dict[str, str]:
    """The environment of a measuring process.

    It finds these benchmarks in their place, and everything else where it is installed.
    """
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Not resolved: the directory may contain only a link to the benchmarks.
    path = str(Path(__file__).absolute().parents[1])
    return {**passed_on, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def run(command: Sequence[str], text: str = "") -> str:
    """Run a command with this text as input; returns its output. Raises ProcessFailed."""
    done = subprocess.run(
        command, input=text, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ProcessFailed(f"{command[0]}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout
