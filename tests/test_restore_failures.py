"""A restore that fails or is not confirmed changes nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command_line import at_terminal
from tests.support.latchkey_command import run, run_here
from tests.support.restoring import back_up, detail_of_the_last, edit, import_token, restore
from tests.support.service import Service


@pytest.fixture(scope="module")
def box(resting_box: Service) -> Service:
    """A service that runs only if a test starts it."""
    return resting_box


def test_a_failure_to_write_changes_nothing(box: Service) -> None:
    """Even with --yes: revocations are never discarded because they could not be written."""
    before = back_up(box, "failure.db")
    revoked = import_token(box, "twice")
    run(box, "keys", "revoke", revoked, "--yes")
    columns = (
        "secret_hash, derivation_id, account_id, mode, name, scopes, created_at, expires_at, "
        "revoked_at, origin"
    )
    # A database without an index, which has a token twice: it cannot be taken over.
    with closing(sqlite3.connect(box.database)) as connection:
        query = "SELECT sql FROM sqlite_master WHERE name = 'uq_credential_imported_hash'"
        (index,) = connection.execute(query).fetchone()
    edit(
        box,
        "DROP INDEX uq_credential_imported_hash",
        f"INSERT INTO credential (api_key, {columns}) SELECT 'ak_live_other', {columns} "
        f"FROM credential WHERE api_key = '{revoked}'",
    )
    names = sorted(path.name for path in box.database.parent.iterdir())
    identity = box.database.stat().st_ino
    rows = len(run(box, "audit", "export").splitlines())
    done = run_here(box, "restore", str(before), "--yes")
    assert done.returncode == 1
    assert f"nothing was restored, and {box.database} is unchanged: UNIQUE" in done.stderr
    assert "cannot be read" not in done.stderr
    assert sorted(path.name for path in box.database.parent.iterdir()) == names
    assert box.database.stat().st_ino == identity
    assert len(run(box, "audit", "export").splitlines()) == rows
    assert json.loads(run(box, "keys", "show", revoked, "--json"))["status"] == "revoked"
    edit(box, "DELETE FROM credential WHERE api_key = 'ak_live_other'", index)
    restore(box, before)
    assert json.loads(run(box, "keys", "show", revoked, "--json"))["status"] == "revoked"


def test_a_user_who_cannot_read_the_database_restores_nothing(tmp_path: Path) -> None:
    box = Service(tmp_path, unprivileged=True)
    box.initialize()
    file = back_up(box, "before.db")
    box.database.chmod(0)
    identity = box.database.stat().st_ino
    done = box.executed("restore", str(file), "--yes", check=False)
    assert done.returncode == 1
    assert f"{box.database}: Permission denied" in done.stderr
    assert "cannot be known" not in done.stderr
    assert box.database.stat().st_ino == identity


@pytest.mark.parametrize(
    "harm",
    [
        "DROP TABLE audit",
        "ALTER TABLE credential RENAME COLUMN revoked_at TO other",
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE alembic_version SET version_num = CAST(x'ff' AS TEXT)",
        "DROP TABLE alembic_version",
    ],
)
def test_a_foreign_database_needs_a_confirmation(tmp_path: Path, harm: str) -> None:
    box = Service(tmp_path)
    box.initialize()
    file = back_up(box, "before.db")
    edit(box, harm)
    status, screen = at_terminal(box, "restore", str(file), prompt="[y/N]", typed="y\nn\n")
    assert status == 1
    assert "The database in use cannot be read" in screen
    assert "cannot be read" in run_here(box, "restore", str(file), "--yes").stderr
    assert detail_of_the_last(box)["log"] == "begins at the backup"


def test_row_numbers_of_an_unrelated_database_are_not_mixed_up(tmp_path: Path) -> None:
    """If both have rows with the same number, the rows taken over get new numbers."""
    box = Service(tmp_path)
    box.initialize()
    empty = back_up(box, "empty.db")
    import_token(box, "of the backup")
    backed_up = back_up(box, "backup.db")
    box.database.unlink()
    restore(box, empty)
    others = [import_token(box, f"of now {number}") for number in range(3)]
    for api_key in others:
        run(box, "keys", "revoke", api_key, "--yes")
    said = restore(box, backed_up)
    assert "kept: 3 keys missing from the backup" in said
    for api_key in others:
        assert json.loads(run(box, "keys", "show", api_key, "--json"))["status"] == "revoked"
