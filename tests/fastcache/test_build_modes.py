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
