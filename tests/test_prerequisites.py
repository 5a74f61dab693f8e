"""scripts/prerequisites.sh, run on systems that lack something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "prerequisites.sh"

# A fake interpreter runs this first: it removes what the system is supposed to lack.
LACKS_ENSUREPIP = "import sys; sys.modules['ensurepip'] = None"
LACKS_HEADERS = "import sysconfig; sysconfig.get_path = lambda name: '/nonexistent'"
IS_OLD = (
    "import platform, sys, sysconfig; "
    "sys.version_info = (3, 9, 2); platform.python_version = lambda: '3.9.2'"
)


def run(path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with `path` as the only directory of commands."""
    variables: Mapping[str, str] = {"PATH": str(path), **environment}
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def put_command(directory: Path, name: str, body: str) -> None:
    """Create an executable shell script."""
    command = directory / name
    command.write_text(f"#!/bin/sh\n{body}\n")
    command.chmod(0o755)


def put_python(directory: Path, *lacking: str) -> None:
    """Create a `python3` that is this interpreter without what `lacking` removes."""
    preamble = "; ".join(lacking) or "pass"
    body = f'test "$1" = -c && exec "{sys.executable}" -c "{preamble}\n$2"'
    put_command(directory, "python3", body)


def put_compiler(directory: Path, *, has_libc: bool = True) -> None:
    """Create a `cc` that reads its input and succeeds, or finds no headers."""
    outcome = "true" if has_libc else "false"
    put_command(directory, "cc", f"while read -r line; do :; done; {outcome}")


def missing(outcome: subprocess.CompletedProcess[str]) -> list[str]:
    """The packages in the lines that start with `missing:`."""
    lines = [line for line in outcome.stderr.splitlines() if line.startswith("missing: ")]
    return [line.rpartition("(Debian package: ")[2].removesuffix(")") for line in lines]


def test_a_complete_system_passes_in_silence(tmp_path: Path) -> None:
    put_python(tmp_path)
    put_compiler(tmp_path)
    outcome = run(tmp_path, CC="cc")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_an_empty_system_gets_all_packages_in_one_run(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert outcome.returncode == 1
    assert missing(outcome) == ["python3", "python3-venv", "python3-dev", "gcc"]
    assert outcome.stderr.endswith("apt-get install python3 python3-venv python3-dev gcc\n")


@pytest.mark.parametrize(
    ("lacking", "package"),
    [
        (IS_OLD, "python3"),
        (LACKS_ENSUREPIP, "python3-venv"),
        (LACKS_HEADERS, "python3-dev"),
    ],
    ids=["version", "venv", "headers"],
)
def test_a_missing_part_of_python_is_named_in_one_line(
    tmp_path: Path, lacking: str, package: str
) -> None:
    put_python(tmp_path, lacking)
    put_compiler(tmp_path)
    outcome = run(tmp_path, CC="cc")
    assert outcome.returncode == 1
    assert missing(outcome) == [package]


def test_the_version_of_an_old_python_is_reported(tmp_path: Path) -> None:
    put_python(tmp_path, IS_OLD)
    put_compiler(tmp_path)
    outcome = run(tmp_path, CC="cc")
    assert "Python 3.11 or later; 'python3' is 3.9.2" in outcome.stderr


def test_several_missing_parts_of_python_are_named_together(tmp_path: Path) -> None:
    put_python(tmp_path, LACKS_ENSUREPIP, LACKS_HEADERS)
    outcome = run(tmp_path, CC="cc")
    assert missing(outcome) == ["python3-venv", "python3-dev", "gcc"]


def test_without_cc_the_compiler_of_python_is_required(tmp_path: Path) -> None:
    put_python(tmp_path, "import sysconfig; sysconfig.get_config_var = lambda name: 'odd-cc -O2'")
    outcome = run(tmp_path)
    assert missing(outcome) == ["gcc"]
    assert "a C compiler ('odd-cc')" in outcome.stderr


def test_a_compiler_without_the_c_library_is_detected(tmp_path: Path) -> None:
    put_python(tmp_path)
    put_compiler(tmp_path, has_libc=False)
    assert missing(run(tmp_path, CC="cc -std=c11")) == ["libc6-dev"]


def test_a_python_that_does_not_start_counts_as_missing(tmp_path: Path) -> None:
    put_command(tmp_path, "python3", "exit 1")
    put_compiler(tmp_path)
    assert missing(run(tmp_path, CC="cc")) == ["python3", "python3-venv", "python3-dev"]


def test_another_interpreter_can_be_named(tmp_path: Path) -> None:
    put_python(tmp_path)
    put_compiler(tmp_path)
    outcome = run(tmp_path, "python3.99", CC="cc")
    assert outcome.returncode == 1
    assert "'python3.99'" in outcome.stderr


def test_the_interpreter_of_these_tests_is_enough_for_the_script(tmp_path: Path) -> None:
    put_compiler(tmp_path)
    outcome = run(tmp_path, sys.executable, CC="cc")
    assert outcome.stderr == ""
