"""The Pythons that wheels are built for: one of each release that can build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELEASE = "{}.{}".format(*sys.version_info)
_FIND = "from scripts.interpreters import find_interpreters; print(find_interpreters())"


def find(path: Path, pyenv: Path) -> tuple[str, str]:
    """Run the search with this PATH and this root of pyenv; returns its result and its log."""
    done = subprocess.run(
        [sys.executable, "-c", _FIND],
        cwd=ROOT,
        env={**os.environ, "PATH": str(path), "PYENV_ROOT": str(pyenv)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip(), done.stderr.strip()


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    path, pyenv = tmp_path / "bin", tmp_path / "pyenv"
    path.mkdir()
    (pyenv / "versions" / "one" / "bin").mkdir(parents=True)
    return path, pyenv


def script(place: Path, text: str) -> None:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)


def test_one_that_cannot_build_is_named_with_the_reason(places: tuple[Path, Path]) -> None:
    path, pyenv = places
    script(path / f"python{RELEASE}", "echo 'its C headers are missing' >&2; exit 1")
    script(path / "python3.14", "echo 3.9")
    found, said = find(path, pyenv)
    assert found == "{}"
    assert f"skipped {path}/python{RELEASE}: its C headers are missing" in said
    assert f"skipped {path}/python3.14: it is Python 3.9" in said


def test_another_of_the_same_release_takes_its_place(places: tuple[Path, Path]) -> None:
    path, pyenv = places
    script(path / f"python{RELEASE}", "exit 1")
    good = pyenv / "versions" / "one" / "bin" / f"python{RELEASE}"
    script(good, f"echo {RELEASE}")
    found, said = find(path, pyenv)
    assert str(good) in found
    assert said == f"skipped {path}/python{RELEASE}: it does not run"


def test_the_first_on_the_path_is_taken_and_shims_are_not(places: tuple[Path, Path]) -> None:
    path, pyenv = places
    script(path / f"python{RELEASE}", f"echo {RELEASE}")
    (pyenv / "shims").mkdir()
    script(pyenv / "shims" / "python3.14", "exit 1")
    found, said = find(Path(f"{pyenv / 'shims'}:{path}"), pyenv)
    assert str(path / f"python{RELEASE}") in found
    assert said == ""
