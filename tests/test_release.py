"""`make release`: what it checks, and that it tags last. In a throwaway repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "release.py"

MAKEFILE = """\
lint test test-integration dist:
\t@echo $@ >> .git/made
\t@test $@ != "$(FAILING)"
"""
CHANGELOG = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-11-30

### Added

- A key.
"""


@dataclass(frozen=True)
class Repository:
    """A checkout on main that is ready for a release of 1.2.3."""

    directory: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", self.directory, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip()

    def commit(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Change {name}")

    def release(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.directory / "scripts" / "release.py", *arguments],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.directory), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def made(self) -> list[str]:
        notes = self.directory / ".git" / "made"
        return notes.read_text().split() if notes.exists() else []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.git("config", "user.name", "Test")
    made.git("config", "user.email", "test@example.com")
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    made.commit("pyproject.toml", '[project]\nname = "x"\nversion = "1.2.3"\n')
    return made


def test_a_release_checks_builds_and_tags(repository: Repository) -> None:
    done = repository.release()
    assert done.returncode == 0, done.stderr
    assert repository.made == ["lint", "test", "test-integration", "dist"]
    assert repository.git("cat-file", "-t", "v1.2.3") == "tag"
    assert repository.git("rev-parse", "v1.2.3^{commit}") == repository.git("rev-parse", "HEAD")


def test_a_dry_run_does_not_tag(repository: Repository) -> None:
    done = repository.release("--dry-run")
    assert done.returncode == 0, done.stderr
    assert repository.made == ["lint", "test", "test-integration", "dist"]
    assert repository.git("tag") == ""


def test_a_tested_commit_is_not_tested_again(repository: Repository) -> None:
    assert repository.release("--tested").returncode == 0
    assert repository.made == ["dist"]


@pytest.mark.parametrize("target", ["lint", "test", "test-integration", "dist"])
def test_a_failure_leaves_no_tag(repository: Repository, target: str) -> None:
    done = repository.release(FAILING=target)
    assert done.returncode == 1
    assert f"make {target} failed" in done.stderr
    assert repository.git("tag") == ""


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("pyproject.toml", '[project]\nversion = "1.2.3.dev0"\n', "not a version of the form"),
        ("pyproject.toml", '[project]\nversion = "1.2.4"\n', r"no section `## \[1\.2\.4\] - "),
        ("CHANGELOG.md", CHANGELOG.replace(" - 2026-11-30", ""), r"no section `## \[1\.2\.3\] - "),
        (
            "CHANGELOG.md",
            CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"),
            "move what is under Unreleased",
        ),
    ],
)
def test_what_is_not_ready_is_refused(
    repository: Repository, name: str, text: str, problem: str
) -> None:
    repository.commit(name, text)
    refused(repository, problem)


def test_uncommitted_changes_are_refused(repository: Repository) -> None:
    (repository.directory / "new").write_text("")
    refused(repository, "not committed")


def test_another_branch_is_refused(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "other")
    refused(repository, "the branch is other, not main")


def test_an_existing_tag_is_refused(repository: Repository) -> None:
    repository.git("tag", "v1.2.3")
    refused(repository, "v1.2.3 exists already")


def refused(repository: Repository, problem: str) -> None:
    tags = repository.git("tag")
    done = repository.release()
    assert done.returncode == 1
    assert re.search(problem, done.stderr), done.stderr
    assert repository.made == []
    assert repository.git("tag") == tags
