"""The benchmark of the check runs, in a process as it is called; its figures are no matter here."""

from __future__ import annotations

import json
import subprocess
import sys

PARTS = {"check", "other ways", "metrics", "flask"}


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.overhead", "--processes=1", "--calls=20"]
    return subprocess.check_output([*command, *arguments], text=True)


def test_every_part_runs() -> None:
    [measured] = json.loads(run("--json"))
    assert measured.keys() == PARTS
    for subjects in measured.values():
        assert subjects["bare"] > 0
        assert len(subjects) >= 3
        assert all(nanoseconds > 0 for nanoseconds in subjects.values())


def test_one_part_as_a_table() -> None:
    shown = run("--part=check")
    assert "bearer" in shown
    assert "shared cache" not in shown
