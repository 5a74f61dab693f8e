"""Commands run by root on another user's instance: all files stay that user's."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.other_users import NOBODY, as_root
from tests.support.service import Service

pytestmark = as_root


@pytest.fixture
def box() -> Iterator[Service]:
    """An instance of the user ``nobody``, in a directory that this user can access."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        made = Service(top / "instance", LATCHKEY_WORKERS="1")
        made.initialize()
        give(made.directory)
        yield made


def give(directory: Path) -> None:
    """Give a directory and its contents to ``nobody``."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def foreign(directory: Path) -> list[str]:
    """The files in a directory that do not belong to this user."""
    return [
        str(path.relative_to(directory))
        for path in sorted(directory.rglob("*"))
        if path.lstat().st_uid != NOBODY
    ]


CHANGES = [
    ("keys", "create", "--name", "more"),
    ("keys", "list"),
    ("admin", "list"),
    ("audit", "verify"),
    ("audit", "accept", "--yes"),
    ("init",),
    ("backup", "bk.db"),
    ("keys", "export", "keys.jsonl"),
    ("audit", "export", "log.jsonl"),
]


@pytest.mark.parametrize("first", ["as it is", "without locks"])
def test_no_command_leaves_a_file_owned_by_root(box: Service, first: str) -> None:
    if first == "without locks":
        for path in box.directory.rglob("*lock"):
            path.unlink()
    for arguments in CHANGES:
        done = box.command(*arguments)
        assert foreign(box.directory) == [], (arguments, done.stdout)
    assert "intact" in box.command("audit", "verify").stdout
    log = box.command("audit", "list", "--json").stdout
    assert "cli:root" in log or '"root"' in log


def test_the_executable_leaves_no_file_owned_by_root(box: Service) -> None:
    box.executed("keys", "create", "--name", "more")
    box.executed("admin", "list")
    assert foreign(box.directory) == []


def test_a_restored_database_keeps_owner_group_and_mode(box: Service) -> None:
    box.command("backup", "bk.db")
    box.database.chmod(0o640)
    os.chown(box.database, NOBODY, 12345)
    done = box.command("restore", "bk.db", "--yes")
    found = box.database.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0o640)
    assert foreign(box.directory) == []
    assert "restored" in done.stdout
    with closing(sqlite3.connect(box.database)) as connection:
        (action,) = connection.execute(
            "SELECT action FROM audit ORDER BY number DESC LIMIT 1"
        ).fetchone()
    assert action == "store.restore"


def test_root_can_write_a_backup_where_the_owner_cannot(box: Service) -> None:
    """The copy nevertheless belongs to the instance's owner."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "bk.db"
        assert Path(name).stat().st_mode & 0o777 == 0o700
        box.command("backup", str(copy))
        assert (copy.stat().st_uid, stat.S_IMODE(copy.stat().st_mode)) == (NOBODY, 0o600)
        box.command("restore", str(copy), "--yes")
        box.command("keys", "export", f"{name}/keys.jsonl")
        assert Path(name, "keys.jsonl").stat().st_uid == 0
        assert len(os.listdir(name)) == 2
    assert foreign(box.directory) == []


def test_init_in_another_users_directory_creates_an_instance_of_that_user() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        directory = Path(name) / "instance"
        directory.mkdir()
        os.chown(directory, NOBODY, NOBODY)
        box = Service(directory)
        box.command("init")
        assert foreign(directory) == []
        assert box.database.exists()


def test_root_does_not_serve_it_and_names_the_user_who_should(box: Service) -> None:
    done = box.command("serve", check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "belongs to user nobody" in done.stderr
    assert "run the service as nobody" in done.stderr
    assert foreign(box.directory) == []


def test_without_the_right_to_change_users_root_is_refused(box: Service) -> None:
    box.prefix = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-setuid,-setgid"]
    done = box.executed("keys", "create", "--name", "more", check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "run this as nobody" in done.stderr
    assert foreign(box.directory) == []
