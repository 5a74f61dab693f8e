"""The check of commit subjects. It works without git and without a tag."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_subjects.py"
faults: Callable[[str], list[str]] = runpy.run_path(str(SCRIPT))["faults"]


@pytest.mark.parametrize(
    "subject",
    [
        "Reject zone identifiers in CIDR blocks",
        "Pass the socket to the new master",
        "Process answers in order",
        "Embed the picture",
        "Set 0.2.0 as the version",
        "Add " + "y" * 68,
    ],
)
def test_good_subjects(subject: str) -> None:
    assert faults(subject) == []


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("Add " + "y" * 69, "73 characters"),
        ("Add a check.", "period"),
        ("Added a check", "'Added'"),
        ("Fixes the check", "'Fixes'"),
        ("Running tests in order", "'Running'"),
        ("The check is faster", "'The'"),
        ("Whoever comes first writes", "'Whoever'"),
        ("fix the check", "capitalised verb"),
        ("Fix", "capitalised verb"),
        ("fastcache: count evictions", "prefix"),
        ("WIP check", "'WIP'"),
    ],
)
def test_refused_subjects(subject: str, fault: str) -> None:
    assert [fault in found for found in faults(subject)] == [True]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit before any tag, whose subject is invalid."""
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "Everything was made.")
    return tmp_path


def test_commits_before_the_first_tag_are_not_checked(repository: Path) -> None:
    assert check(repository).returncode == 0


def test_commits_after_the_latest_tag_are_checked(repository: Path) -> None:
    git(repository, "tag", "v0.1.0")
    commit(repository, "Adding things")
    assert check(repository).returncode == 1
    git(repository, "tag", "v0.2.0")
    commit(repository, "Add things")
    assert check(repository).returncode == 0
    commit(repository, "Added more")
    done = check(repository)
    assert done.returncode == 1
    assert "'Added more': begins with 'Added'" in done.stderr
    assert "Adding" not in done.stderr


def test_a_directory_without_a_history_is_not_checked(tmp_path: Path) -> None:
    assert check(tmp_path).returncode == 0


def test_a_machine_without_git_checks_nothing(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, repository], env={"PATH": "/nonexistent"}, check=False
    )
    assert done.returncode == 0


def check(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in the way of the Makefile."""
    return subprocess.run(
        [sys.executable, SCRIPT, directory], capture_output=True, text=True, check=False
    )


def commit(directory: Path, subject: str) -> None:
    git(directory, "commit", "--quiet", "--allow-empty", "--message", subject)


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *identity, "-C", directory, *arguments], check=True, timeout=60)
