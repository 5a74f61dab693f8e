"""The file of settings in docs/operations.md works from every directory, and is complete."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from tests.support.service import LATCHKEY

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def settings_file(directory: Path) -> Path:
    """The file of settings that the page shows, for another directory than its own."""
    (block,) = re.findall(r"```sh run\n# /etc/latchkey\.env\n((?:LATCHKEY_\w+=.*\n)+)```", PAGE)
    file = directory / "latchkey.env"
    file.write_text(block.replace("/var/lib/latchkey", str(directory / "instance")))
    return file


def shell(file: Path, directory: Path, script: str) -> str:
    """Run the page's line that reads settings, then a script; returns the output."""
    (line,) = re.findall(r"^(set -a; \. /etc/latchkey\.env; set \+a)$", PAGE, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euc", f"{line.replace('/etc/latchkey.env', str(file))}\n{script}"],
        cwd=directory,
        env={"PATH": f"{LATCHKEY.parent}:{os.environ['PATH']}", "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (script, done.stderr)
    return done.stdout


def test_absolute_paths_work_from_every_directory(tmp_path: Path) -> None:
    file = settings_file(tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    shell(file, one, "latchkey init")
    made = json.loads(shell(file, other, "latchkey keys create --name x --json"))
    shell(file, other, f"latchkey keys revoke {made['api_key']} --yes")
    assert [list(one.iterdir()), list(other.iterdir())] == [[], []]
    assert sorted(path.name for path in (tmp_path / "instance" / "secrets").iterdir()) == [
        "audit.head",
        "audit.head.lock",
        "audit.key",
        "derivation.key",
    ]


def test_the_settings_of_the_page_are_all_of_the_paths() -> None:
    from latchkey.config import Settings, variable

    # A path that is empty by default names a file that not every instance has.
    paths = {
        variable(name)
        for name, info in Settings.model_fields.items()
        if "file" in name and info.default != ""
    }
    named = set(re.findall(r"^(LATCHKEY_\w+)=/", PAGE, re.MULTILINE))
    assert named == paths
