"""Two builds of one commit give the same wheel, byte for byte; with ``--long``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.packaging.environment import ROOT

pytestmark = pytest.mark.timeout(3600)
RELEASE = "{}.{}".format(*sys.version_info)


def built(directory: Path) -> Path:
    """The wheel of `make dist`, for one CPython, built below a directory."""
    directory.mkdir(parents=True)
    (directory / "work").mkdir()
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "FASTCACHE_BUILD"}
    variables = {name: value for name, value in os.environ.items() if name not in inherited}
    done = subprocess.run(
        ["make", "dist", f"ARGS=--output {directory / 'dist'} --only {RELEASE}"],
        cwd=ROOT,
        env={**variables, "TMPDIR": str(directory / "work")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (directory / "dist").glob("*.whl")
    return wheel


def test_two_builds_give_the_same_wheel(tmp_path: Path, long: bool) -> None:
    """In two directories, whose names would make debugging information differ."""
    if not long:
        return
    first, second = built(tmp_path / "one"), built(tmp_path / "another" / "longer")
    assert first.name == second.name
    with ZipFile(first) as one, ZipFile(second) as other:
        names = one.namelist()
        assert names == other.namelist()
        assert [name for name in names if one.read(name) != other.read(name)] == []
    # Also the times and modes of the files in it.
    assert first.read_bytes() == second.read_bytes()
