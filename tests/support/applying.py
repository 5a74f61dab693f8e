"""``latchkey apply`` with the text of a file, and the shortest declarations for one."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.support.command_line import listed
from tests.support.latchkey_command import run_here
from tests.support.service import Service

KEY = """
[[accounts.keys]]
id = "production"
name = "Acme production"
scopes = ["orders:read"]
"""
ACCOUNT = """
[[accounts]]
external_id = "acme"
name = "Acme Ltd"
"""


def apply(box: Service, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    file = box.directory / "keys.toml"
    file.write_text(text)
    return run_here(box, "apply", str(file), *options)


def applied(box: Service, text: str, *options: str) -> dict[str, Any]:
    """The result of a run that must succeed."""
    done = apply(box, text, "--yes", "--json", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def problems(box: Service, text: str) -> list[str]:
    """The messages for a file that is refused."""
    before = listed(box)
    done = apply(box, text, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    *lines, last = done.stderr.splitlines()
    assert last.startswith("latchkey: nothing was changed: ")
    assert listed(box) == before
    return lines
