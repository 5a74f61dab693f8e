"""Another package named fastcache in the place of ours: refused in one line with the repair."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_REPAIR = (
    "is not Latchkey's; if it was installed: pip uninstall fastcache; "
    "pip install --force-reinstall --no-deps latchkey-auth; otherwise rename it\n"
)


@pytest.mark.parametrize("name", ["fastcache.py", "fastcache/__init__.py"])
def test_the_import_of_the_library(tmp_path: Path, name: str) -> None:
    place = _foreign(tmp_path, name)
    done = _run(tmp_path, "-c", "import latchkey")
    assert done.returncode == 1
    said = done.stderr.splitlines(keepends=True)[-1]
    assert said == f"ImportError: the package fastcache at {place} {_REPAIR}"


@pytest.mark.parametrize("name", ["fastcache.py", "fastcache/__init__.py"])
def test_the_command(tmp_path: Path, name: str) -> None:
    place = _foreign(tmp_path, name)
    done = _run(tmp_path, "-c", "from latchkey_service.command import main; main()", "--help")
    assert done.returncode == 1
    assert done.stderr == f"latchkey: the package fastcache at {place} {_REPAIR}"


def _foreign(directory: Path, name: str) -> Path:
    """Another package with the same name, which is imported in place of the project's."""
    place = directory / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("def clru_cache(maxsize=128):\n    return lambda function: function\n")
    return place


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
