"""Backups of a running service, and restores that do not undo revocations."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service


@pytest.fixture(scope="module")
def box(running_box: Service) -> Service:
    """A running service; tests that restore stop it in between."""
    return running_box


def back_up(box: Service, name: str) -> Path:
    file = box.directory / name
    done = run_here(box, "backup", str(file))
    assert (done.returncode, done.stdout) == (0, f"created {file}\n"), done.stderr
    return file


def restore(box: Service, file: Path) -> str:
    """Stop the service, restore, and start it again; returns the output of the command."""
    box.stop()
    done = run_here(box, "restore", str(file), "--yes")
    assert done.returncode == 0, done.stderr
    assert run_here(box, "audit", "verify").returncode == 0
    box.start()
    return done.stdout


def works(box: Service, pair: Pair) -> bool:
    return box.get("/v1/account", pair.bearer).status == 200


def code(box: Service, pair: Pair) -> str:
    return box.get("/v1/account", pair.bearer).code


def beside(box: Service) -> list[str]:
    return sorted(path.name for path in box.database.parent.iterdir())


def last_entry(box: Service) -> dict[str, object]:
    printed = run_here(box, "audit", "list", "--limit", "1", "--json").stdout
    entry: dict[str, object] = json.loads(printed)["entries"][0]
    return entry


# ---- Backup


def test_a_backup_is_private_and_complete_and_contains_no_key(box: Service) -> None:
    pair = box.create_key()
    file = back_up(box, "whole.db")
    assert file.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT api_key FROM credential").fetchall()
    assert (pair.api_key,) in rows
    data = file.read_bytes()
    for name in ("derivation.key", "audit.key"):
        key = (box.directory / "secrets" / name).read_text().strip()
        assert key.encode() not in data
        assert bytes.fromhex(key) not in data
    assert pair.api_secret.encode() not in data


def test_a_backup_does_not_replace_a_file(box: Service) -> None:
    file = box.directory / "there.db"
    file.write_text("precious")
    done = run_here(box, "backup", str(file))
    assert done.returncode == 1
    assert done.stderr == f"latchkey: {file} already exists; choose another file\n"
    assert file.read_text() == "precious"
    missing = box.directory / "no" / "such" / "place.db"
    done = run_here(box, "backup", str(missing))
    assert done.stderr == f"latchkey: {missing}: No such file or directory\n"
    assert not [path for path in box.directory.iterdir() if "draft" in path.name]


# ---- Restore


def test_keys_revoked_or_expired_since_the_backup_stay_so(box: Service) -> None:
    live = box.create_key(name="operator")
    revoked, rotated, sooner, kept = (box.issue() for _ in range(4))
    revoked_before = box.issue()
    run_here(box, "keys", "revoke", revoked_before.api_key, "--yes")
    file = back_up(box, "since.db")
    for pair in (revoked, rotated, sooner, kept):
        assert works(box, pair)
    # Since the backup:
    run_here(box, "keys", "revoke", revoked.api_key, "--yes")
    path = f"/v1/api_keys/{rotated.api_key}/rotate"
    made = box.request("POST", path, live.bearer, json_body={"overlap_seconds": 0}).json
    successor = Pair(made["api_key"], made["api_secret"])
    end = {"expires_at": "2040-01-01T00:00:00Z"}
    box.request("PATCH", f"/v1/api_keys/{sooner.api_key}", live.bearer, json_body=end)
    box.request("PATCH", f"/v1/api_keys/{kept.api_key}", live.bearer, json_body={"name": "later"})
    since = box.issue()
    registered = box.derive_pair()
    body = {"api_key": registered.api_key, "api_secret": registered.api_secret}
    assert box.request("POST", "/credentials", json_body=body).status == 201
    run_here(box, "keys", "revoke", registered.api_key, "--yes")
    rows = int(str(last_entry(box)["number"]))

    said = restore(box, file)
    assert f"stays revoked or expired: {revoked.api_key}" in said
    assert f"stays revoked or expired: {rotated.api_key}" in said
    assert f"stays revoked or expired: {revoked_before.api_key}" not in said
    assert code(box, revoked) == code(box, revoked_before) == "key_revoked"
    assert code(box, rotated) == "key_expired"
    assert works(box, successor)
    shown = box.get(f"/v1/api_keys/{sooner.api_key}", live.bearer).json
    assert shown["expires_at"] == "2040-01-01T00:00:00.000Z"
    assert box.get(f"/v1/api_keys/{kept.api_key}", live.bearer).json["name"] == "test"
    assert works(box, kept)
    # A pair that was registered and revoked since the backup cannot be registered again.
    assert code(box, registered) == "key_revoked"
    assert box.request("POST", "/credentials", json_body=body).status == 409
    # A key that was created after the backup and is still active is lost.
    assert code(box, since) == "invalid_api_key"
    assert "lost: 1 key created since the backup\n" in said
    entry = last_entry(box)
    detail = json.loads(str(entry["detail"]))
    # The log lost no rows and continues from its end.
    assert (entry["action"], entry["number"]) == ("store.restore", rows + 1)
    assert (detail["log"], detail["head"], detail["rows"]) == ("goes on", rows, rows)
    aside = [name for name in beside(box) if "before-restore" in name]
    assert len(aside) == 1
    with closing(sqlite3.connect(box.database.parent / aside[0])) as former:
        found = former.execute("SELECT count(*) FROM credential WHERE api_key = ?", [since.api_key])
        assert found.fetchone() == (1,)


def test_no_key_gains_scopes(box: Service) -> None:
    """Removed scopes stay removed; scopes that were added since are lost."""
    live = box.create_key(name="operator")

    def scopes(pair: Pair, *wanted: str) -> list[str]:
        path = f"/v1/api_keys/{pair.api_key}"
        if wanted:
            box.request("PATCH", path, live.bearer, json_body={"scopes": list(wanted)})
        said: list[str] = box.get(path, live.bearer).json["scopes"]
        return said

    narrowed, write_to_read, others, widened, spelled = (box.issue() for _ in range(5))
    scopes(write_to_read, "credentials:write")
    scopes(others, "account:read")
    scopes(widened, "account:read")
    scopes(spelled, "credentials:read", "credentials:write")
    file = back_up(box, "scopes.db")
    scopes(narrowed, "account:read")
    scopes(write_to_read, "credentials:read")
    scopes(others, "credentials:read")
    scopes(widened, "account:read", "credentials:write")
    scopes(spelled, "credentials:write")

    said = restore(box, file)
    for pair in (narrowed, write_to_read, others):
        assert f"keeps its current scopes, conditions or limits: {pair.api_key}" in said
    for pair in (widened, spelled, live):
        assert pair.api_key not in said
    assert scopes(narrowed) == ["account:read"]
    assert scopes(write_to_read) == scopes(others) == ["credentials:read"]
    assert scopes(widened) == ["account:read"]
    assert scopes(spelled) == ["credentials:read", "credentials:write"]
    assert box.get("/credentials", narrowed.bearer).status == 403
    assert json.loads(str(last_entry(box)["detail"]))["narrowed"] == 3


def test_numbers_are_not_reused(box: Service) -> None:
    file = back_up(box, "numbers.db")
    since = box.issue()
    with closing(sqlite3.connect(box.database)) as connection:
        (number,) = connection.execute(
            "SELECT id FROM credential WHERE api_key = ?", [since.api_key]
        ).fetchone()
    restore(box, file)
    later = box.issue()
    with closing(sqlite3.connect(box.database)) as connection:
        assert connection.execute(
            "SELECT id > ? FROM credential WHERE api_key = ?", [number, later.api_key]
        ).fetchone() == (1,)


def test_disabled_and_removed_administrators_stay_out(box: Service) -> None:
    """Passwords and disabled states come from the previous database; all sessions end."""
    insert = "INSERT INTO administrator (name, password_hash, created_at) VALUES (?, 'old hash', 1)"
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        connection.execute(insert, ["ann"])
        connection.execute(insert, ["bob"])
        connection.execute("INSERT INTO console_session VALUES (zeroblob(32), 1, 1, 1, '')")
    file = back_up(box, "administrators.db")
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        connection.execute("UPDATE administrator SET password_hash = 'new' WHERE name = 'ann'")
        connection.execute("UPDATE administrator SET disabled_at = 5 WHERE name = 'bob'")
    restore(box, file)
    with closing(sqlite3.connect(box.database)) as connection:
        query = "SELECT name, password_hash, disabled_at FROM administrator ORDER BY name"
        rows = connection.execute(query).fetchall()
        assert connection.execute("SELECT count(*) FROM console_session").fetchone() == (0,)
    assert rows == [("ann", "new", None), ("bob", "old hash", 5)]


def test_nothing_is_restored_beside_a_service(box: Service) -> None:
    file = back_up(box, "beside.db")
    before = box.database.stat().st_ino
    done = run_here(box, "restore", str(file), "--yes")
    assert done.returncode == 1
    assert "a service uses this database" in done.stderr
    assert box.database.stat().st_ino == before
    assert not [name for name in beside(box) if "restoring" in name]


@pytest.mark.parametrize("harm", ["empty", "text", "cut", "spoilt", "later"])
def test_a_file_that_is_not_a_backup_is_refused(box: Service, harm: str) -> None:
    file = back_up(box, f"{harm}.db")
    data = file.read_bytes()
    if harm == "later":
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
    else:
        spoilt = bytearray(data)
        spoilt[4096:12288] = b"\xa5" * 8192
        harmed = {
            "empty": b"",
            "text": b"no database " * 999,
            "cut": data[:8192],
            "spoilt": bytes(spoilt),
        }
        file.write_bytes(harmed[harm])
    done = run_here(box, "restore", str(file), "--yes")
    assert done.returncode == 1
    assert str(file) in done.stderr


@pytest.mark.parametrize("missing", [True, False])
def test_an_unreadable_database_needs_a_confirmation(tmp_path: Path, missing: bool) -> None:
    box = Service(tmp_path, LATCHKEY_WORKERS="1")
    box.initialize()
    pair = box.create_key()
    file = back_up(box, "before.db")
    run_here(box, "keys", "revoke", pair.api_key, "--yes")
    if missing:
        box.database.unlink()
    else:
        box.database.write_bytes(b"\xa5" * 50_000)
    before = beside(box)
    asked = run_here(box, "restore", str(file))
    assert asked.returncode == 1
    assert beside(box) == before
    done = run_here(box, "restore", str(file), "--yes")
    assert done.returncode == 0
    assert "Changes since the backup are unknown" in done.stderr
    assert run_here(box, "audit", "verify").returncode == 0
    detail = json.loads(str(last_entry(box)["detail"]))
    assert detail["log"] == "begins at the backup"
    assert detail["head"] == detail["rows"] + 1
    with box:
        assert works(box, pair)
