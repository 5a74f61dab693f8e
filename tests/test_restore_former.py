"""Restoring a backup of version 0.2, whose audit log has other MACs than the log in use."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.latchkey_command import run, run_here
from tests.support.recorded import ROOT, put_in_place, read
from tests.support.service import Service

RECORDED = ROOT / "tests" / "data" / "upgrade" / "0.2.0"


@pytest.fixture
def box(tmp_path: Path) -> Service:
    """An instance as version 0.2 left it, and a copy of its database, ``backup.db``."""
    made = Service(tmp_path)
    put_in_place(RECORDED, made)
    shutil.copy(made.database, tmp_path / "backup.db")
    return made


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def rows(box: Service) -> list[dict[str, Any]]:
    listed = json.loads(run(box, "audit", "list", "--json"))["entries"]
    assert isinstance(listed, list)
    return listed[::-1]


def test_the_log_goes_on_where_it_was_rechained_since(box: Service) -> None:
    run(box, "init")
    run(box, "keys", "create", "--name", "later")
    before = rows(box)
    run(box, "restore", str(box.directory / "backup.db"), "--yes")
    after = rows(box)
    assert after[: len(before)] == before
    assert [row["action"] for row in after[len(before) :]] == ["store.restore"]
    assert json.loads(after[-1]["detail"])["log"] == "goes on"
    assert "the audit log is intact" in run(box, "audit", "verify")


def test_the_log_goes_on_where_it_was_never_rechained(box: Service) -> None:
    """The database in use is still of version 0.2."""
    run(box, "restore", str(box.directory / "backup.db"), "--yes")
    count = len(read(RECORDED).audit_rows)
    assert [row["action"] for row in rows(box)[count:]] == ["audit.rechain", "store.restore"]
    assert "the audit log is intact" in run(box, "audit", "verify")


def test_a_backup_that_was_altered_begins_a_log_of_its_own(box: Service) -> None:
    run(box, "init")
    shutil.copy(box.directory / "backup.db", box.directory / "altered.db")
    edit(box.directory / "altered.db", "UPDATE audit SET address = '192.0.2.66' WHERE number = 1")
    run(box, "restore", str(box.directory / "altered.db"), "--yes")
    done = run_here(box, "audit", "verify", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [one["problem"] for one in found["findings"]] == ["rechained"]
    run(box, "audit", "accept", "--yes")
    assert "intact" in run(box, "audit", "verify")


@pytest.mark.parametrize("in_use", ["missing", "damaged"])
def test_without_a_readable_database_the_backup_is_rechained(box: Service, in_use: str) -> None:
    run(box, "init")
    run(box, "keys", "create", "--name", "lost")
    for path in list(box.database.parent.iterdir()):
        path.unlink()
    if in_use == "damaged":
        box.database.write_bytes(b"no database" * 100)
    run(box, "restore", str(box.directory / "backup.db"), "--yes")
    count = len(read(RECORDED).audit_rows)
    assert [row["action"] for row in rows(box)[count:]] == ["audit.rechain", "store.restore"]
    said = run(box, "audit", "verify")
    assert "are lost" in said
    assert "apart from that, the audit log is intact" in said
    run(box, "keys", "create", "--name", "after")
    assert "intact" in run(box, "audit", "verify")


def test_a_lost_key_does_not_lose_a_former_log(box: Service) -> None:
    """Nothing can be verified any more, which is a finding until it is accepted."""
    (box.directory / "secrets" / "audit.key").unlink()
    done = run_here(box, "init")
    assert done.returncode == 1
    assert "latchkey audit restart" in done.stderr
    run(box, "audit", "restart", "--yes")
    run(box, "keys", "create", "--name", "after")
    count = len(read(RECORDED).audit_rows)
    actions = [row["action"] for row in rows(box)[count:]]
    assert actions == ["audit.rechain", "audit.restart", "key.issue"]
    done = run_here(box, "audit", "verify")
    assert done.returncode == 1
    assert "the key with which they were written was lost" in done.stdout
    run(box, "audit", "accept", "--yes")
    assert "the audit log is intact" in run(box, "audit", "verify")
