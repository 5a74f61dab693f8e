"""The recipes of docs/operations.md, as somebody follows them who reads nothing else."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.support.latchkey_command import run_here
from tests.support.service import LATCHKEY, Service

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def settings_file(directory: Path) -> Path:
    """The file of settings that the page shows, for another directory than its own."""
    (block,) = re.findall(r"```sh\n((?:LATCHKEY_\w+=.*\n)+)```", PAGE)
    file = directory / "latchkey.env"
    file.write_text(block.replace("/var/lib/latchkey", str(directory / "instance")))
    return file


def shell(file: Path, directory: Path, script: str) -> str:
    """What a script prints in a clean environment, after the page's line that reads settings."""
    (line,) = re.findall(r"^    (set -a; \. /etc/latchkey\.env; set \+a)$", PAGE, re.MULTILINE)
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


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """Each line that begins with latchkey and neither serves nor asks: as it stands."""
    file = settings_file(tmp_path)
    box = Service(tmp_path)
    box.settings = dict(line.split("=", 1) for line in file.read_text().splitlines())
    (tmp_path / "keys.csv").write_text(f"name,sha256\nx,{'ab' * 32}\n")
    (tmp_path / "master.key").write_text("cd" * 32)
    answers = {
        "latchkey admin create ada": " --password-stdin",
        "latchkey admin password ada": " --password-stdin",
        "latchkey admin remove ada": " --yes",
        "latchkey vendor instance-key --name eu-west-1": " --master-key-file master.key",
    }
    ran = []
    for line in re.findall(r"^    (latchkey .*)$", PAGE, re.MULTILINE):
        command = line.partition("#")[0].rstrip().replace("/backups", str(tmp_path))
        if command.startswith("latchkey serve"):
            continue
        if command.startswith("latchkey restore"):
            command += " --yes"
        words = shlex.split(command + answers.get(command, ""))[1:]
        run = run_here(box, *words, standard_input="correct horse battery\n")
        assert run.returncode == 0, (command, run.stderr)
        ran.append(command.split()[1])
    assert set(ran) == {"init", "admin", "vendor", "keys", "backup", "restore"}


def test_the_settings_of_the_page_are_all_of_the_paths() -> None:
    from latchkey.config import Settings, variable

    paths = {variable(name) for name, info in Settings.model_fields.items() if "file" in name}
    named = set(re.findall(r"^(LATCHKEY_\w+)=/", PAGE, re.MULTILINE))
    assert named == paths
