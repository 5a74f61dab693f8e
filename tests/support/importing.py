"""Imports of keys of another system, by ``latchkey keys import``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.support.latchkey_command import run_here
from tests.support.service import Answer, Service


def sha(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def import_lines(box: Service, *lines: object, check: bool = True) -> dict[str, object]:
    """Import JSON lines; returns the output of the command."""
    file = box.directory / "keys.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("\n".join(texts) + "\n")
    return run_import(box, file, check)


def run_import(box: Service, file: Path, check: bool = True) -> dict[str, object]:
    done = run_here(box, "keys", "import", str(file), "--json")
    assert (done.returncode == 0) is check, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def use(box: Service, token: str, path: str = "/v1/account") -> Answer:
    return box.get(path, {"Authorization": f"Bearer {token}"})


def imported(box: Service, token: str, **terms: object) -> str:
    said = import_lines(box, {"name": "theirs", "sha256": sha(token), **terms})
    made = said["api_keys"]
    assert isinstance(made, list)
    return str(made[0])
