"""Release the version of pyproject.toml: check, build into dist/, and tag. Nothing is published.

usage: release.py [--dry-run] [--tested]

--dry-run  do everything except the tag
--tested   leave out `make lint` and the tests, which have just passed for this commit
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "main"

_OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
_RELEASED = re.compile(r"\d+\.\d+\.\d+", re.ASCII)


def problems(version: str) -> list[str]:
    """The reasons against a release of this version now; empty if there are none."""
    found = []
    if not _RELEASED.fullmatch(version):
        found.append(f"pyproject.toml: {version} is not a version of the form 1.2.3")
    if _git("status", "--porcelain"):
        found.append("there are changes that are not committed")
    branch = _git("branch", "--show-current")
    if branch != BRANCH:
        found.append(f"the branch is {branch or 'none'}, not {BRANCH}")
    if _git("tag", "--list", f"v{version}"):
        found.append(f"v{version} exists already: raise the version in pyproject.toml")
    found += changelog_problems((ROOT / "CHANGELOG.md").read_text(), version)
    return found


def changelog_problems(text: str, version: str) -> list[str]:
    """The parts that a changelog lacks before this version can be released."""
    sections: dict[str, str] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        sections[heading.strip()] = body.strip()
    dated = [
        body
        for heading, body in sections.items()
        if re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading, re.ASCII)
    ]
    found = []
    if not any(dated):
        found.append(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with text")
    if sections.get("[Unreleased]"):
        found.append(f"CHANGELOG.md: move what is under Unreleased to [{version}]")
    return found


def release(*, dry_run: bool, tested: bool) -> None:
    """Check, build and tag; a fault ends the program with what to do."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version: str = table["project"]["version"]
    found = problems(version)
    if found:
        sys.exit("\n".join(f"release: {problem}" for problem in found))
    for target in ("dist",) if tested else ("lint", "test", "test-integration", "dist"):
        print(f"== make {target}", flush=True)
        done = subprocess.run(  # noqa: S603 - targets of this Makefile
            ["make", "--no-print-directory", target],  # noqa: S607
            cwd=ROOT,
            # Without the arguments of the make that runs this.
            env={name: value for name, value in os.environ.items() if name not in _OF_MAKE},
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"release: make {target} failed; nothing was tagged")
    if _git("status", "--porcelain"):
        sys.exit("release: the build changed files of the repository; nothing was tagged")
    if dry_run:
        print(f"Everything is ready for v{version}. Nothing was tagged (--dry-run).")
        return
    _git("tag", "--annotate", f"v{version}", "--message", f"Latchkey {version}")
    print(f"Tagged v{version}. To publish: git push origin v{version}, and upload dist/*.")


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", "-C", str(ROOT), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"release: git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> None:
    """Release what is checked out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="do everything except the tag")
    parser.add_argument("--tested", action="store_true", help="leave out make lint and the tests")
    given = parser.parse_args()
    release(dry_run=given.dry_run, tested=given.tested)


if __name__ == "__main__":
    main()
