"""The build modes of setup.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_unknown_mode_stops_the_build() -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        env={**os.environ, "FASTCACHE_BUILD": "fast"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == (
        "FASTCACHE_BUILD=fast: unknown build mode; "
        "choose one of release, debug, coverage, sanitize, threads"
    )


_IMPORTED_WITHOUT_THE_APPLICATION = """
import importlib, pathlib, sys
sys.modules["latchkey"] = sys.modules["latchkey_service"] = None
for path in ("tests/conftest.py", *map(str, pathlib.Path("tests/fastcache").glob("test_*.py"))):
    importlib.import_module(path.removesuffix(".py").replace("/", "."))
"""


def test_these_tests_need_nothing_but_fastcache() -> None:
    """An interpreter without the GIL has only fastcache and pytest."""
    subprocess.run(
        [sys.executable, "-c", _IMPORTED_WITHOUT_THE_APPLICATION],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
