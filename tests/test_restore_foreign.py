"""Restoring the backup of another instance: its keys would be refused, so the command asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import at_terminal, listed, made
from tests.support.latchkey_command import run_here
from tests.support.service import Service


@pytest.fixture
def here(tmp_path: Path) -> Service:
    (tmp_path / "here").mkdir()
    box = Service(tmp_path / "here")
    box.initialize()
    return box


def backup_of_another(tmp_path: Path, revoked: int = 0) -> Path:
    """A backup of an instance with two active keys, and optionally revoked ones."""
    (tmp_path / "there").mkdir()
    other = Service(tmp_path / "there")
    other.initialize()
    for _ in range(revoked):
        run_here(other, "keys", "revoke", made(other).api_key, "--yes")
    assert run_here(other, "backup", str(tmp_path / "other.db")).returncode == 0
    return tmp_path / "other.db"


def test_restore_prints_the_number_of_keys_and_asks(here: Service, tmp_path: Path) -> None:
    file = backup_of_another(tmp_path, revoked=1)
    before = listed(here)
    for typed, status in (("y\nn\n", 1), ("y\ny\n", 0)):
        done, screen = at_terminal(here, "restore", str(file), prompt="[y/N]", typed=typed)
        assert done == status
        assert (
            "The service would refuse 2 of 2 active keys in the backup: their derivation keys are "
            "not listed." in screen
        )
        assert screen.count("[y/N]") == 2
        assert (listed(here) == before) == (status == 1)


def test_yes_prints_the_warning_too(here: Service, tmp_path: Path) -> None:
    run = run_here(here, "restore", str(backup_of_another(tmp_path)), "--yes")
    assert run.returncode == 0
    assert "The service would refuse 2 of 2 active keys in the backup" in run.stderr


def test_its_own_backup_needs_no_such_confirmation(here: Service, tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    assert run_here(here, "backup", str(own)).returncode == 0
    made(here)
    run = run_here(here, "restore", str(own), "--yes")
    assert (run.returncode, run.stderr) == (0, "")


def test_the_listed_key_of_another_instance_is_sufficient(here: Service, tmp_path: Path) -> None:
    file = backup_of_another(tmp_path)
    key = tmp_path / "there" / "secrets" / "derivation.key"
    ours = here.directory / "secrets" / "derivation.key"
    ours.write_text(ours.read_text() + key.read_text())
    run = run_here(here, "restore", str(file), "--yes")
    assert (run.returncode, "would refuse" in run.stderr) == (0, False)


def test_without_derivation_keys_the_reason_is_printed(here: Service, tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    assert run_here(here, "backup", str(own)).returncode == 0
    (here.directory / "secrets" / "derivation.key").unlink()
    run = run_here(here, "restore", str(own), "--yes")
    assert run.returncode == 0
    assert "The service would refuse 2 of 2 active keys in the backup: there is no deri" in (
        run.stderr
    )
