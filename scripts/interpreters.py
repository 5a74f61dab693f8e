"""Find the Pythons of this machine that wheels are built for: one of each supported release.

The search covers `python3.11` and later on the PATH and in pyenv. A Python that cannot build wheels
is left out, and a line gives the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")

_PROBE = """
import os, sys, sysconfig
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("built without the GIL")
if sys.implementation.name != "cpython":
    sys.exit("not CPython")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("its C headers (Python.h) are missing")
try:
    import ensurepip, venv
    ensurepip.version()
except ImportError:
    sys.exit("its modules venv and ensurepip are missing")
print("%d.%d" % sys.version_info[:2])
"""


def find_interpreters() -> dict[str, Path]:
    """By release, such as "3.12", the first interpreter that can build."""
    found: dict[str, Path] = {}
    for release in SUPPORTED:
        for candidate in _candidates(release):
            reason = _reason_against(candidate, release)
            if reason is None:
                found[release] = candidate
                break
            print(f"skipped {candidate}: {reason}", file=sys.stderr)
    return found


def _candidates(release: str) -> list[Path]:
    name = f"python{release}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    # pyenv's shims only pass the call on to the version in use.
    path = os.pathsep.join(
        place
        for place in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if Path(place) != pyenv / "shims"
    )
    here = shutil.which(name, path=path)
    listed = [Path(here)] if here else []
    return listed + sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)


def _reason_against(python: Path, release: str) -> str | None:
    """Why wheels cannot be built with this interpreter; None if they can."""
    try:
        done = subprocess.run(  # noqa: S603 - an interpreter of this machine
            [python, "-I", "-c", _PROBE], capture_output=True, text=True, check=False, timeout=60
        )
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["it does not run"])[-1]
    return None if done.stdout.strip() == release else f"it is Python {done.stdout.strip()}"
