"""A log whose key was lost starts a new chain, which is always reported; tampering is detected."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.latchkey_command import run_here
from tests.support.service import Service

BEFORE = 3


class RestartedBox:
    """A database whose audit key was lost after three rows, and the output of its commands."""

    def __init__(self, directory: Path) -> None:
        self.service = Service(directory)
        self.key = directory / "secrets" / "audit.key"

    def make(self, name: str) -> None:
        assert self.run("keys", "create", "--name", name)[0] == 0

    def run(self, *arguments: str) -> tuple[int, str, str]:
        done = run_here(self.service, *arguments)
        return done.returncode, done.stdout, done.stderr

    def rows(self) -> int:
        return len(json.loads(self.run("audit", "list", "--json")[1])["entries"])

    def restart(self) -> None:
        self.key.unlink()
        code, _, error = self.run("audit", "restart", "--yes")
        assert code == 0, error

    def edit(self, statement: str) -> None:
        with closing(sqlite3.connect(self.service.database, isolation_level=None)) as connection:
            connection.execute(statement)

    def verify(self) -> tuple[list[tuple[str, int, int]], list[tuple[int, bool]]]:
        """The findings, and the restarts with whether they are genuine."""
        code, printed, _ = self.run("audit", "verify", "--json")
        said = json.loads(printed)
        assert code == (1 if said["findings"] else 0)
        return (
            [(one["problem"], one["first"], one["last"]) for one in said["findings"]],
            [(one["number"], one["genuine"]) for one in said["restarts"]],
        )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a box whose log has its three rows; each test has a copy."""
    box = RestartedBox(tmp_path_factory.mktemp("begun"))
    box.service.initialize()
    # The other rows were written by the start.
    box.make("before")
    assert box.rows() == BEFORE
    return box.service.directory


@pytest.fixture
def box(begun: Path, tmp_path: Path) -> RestartedBox:
    shutil.copytree(begun, tmp_path / "box")
    return RestartedBox(tmp_path / "box")


RESTART = BEFORE + 1


def test_a_restart_is_always_reported(box: RestartedBox) -> None:
    box.key.unlink()
    code, _, error = box.run("keys", "create", "--name", "refused")
    assert code == 1
    assert "latchkey audit restart" in error
    assert box.run("init")[2] == error
    assert box.run("audit", "restart", "--yes")[0] == 0
    assert box.key.stat().st_mode & 0o777 == 0o600
    box.make("after")
    assert box.verify() == ([], [(RESTART, True)])
    code, said, _ = box.run("audit", "verify")
    assert code == 0
    told, whole = said.splitlines()
    assert told.startswith(f"row {RESTART} (20")
    assert f"rows 1 to {BEFORE} cannot be verified with this key" in told
    assert whole == f"the audit log is intact from row {RESTART} on: {RESTART + 1} rows"
    row = json.loads(box.run("audit", "list", "--action", "audit.restart", "--json")[1])
    (entry,) = row["entries"]
    assert entry["actor_kind"] == "command line"
    assert f"records row {BEFORE}" in json.loads(entry["detail"])["head"]


def test_a_restart_needs_a_lost_key_and_no_running_service(box: RestartedBox) -> None:
    code, _, error = box.run("audit", "restart", "--yes")
    assert code == 1
    assert "nothing was changed: a key exists" in error
    assert box.verify() == ([], [])
    kept = box.key.read_bytes()
    with box.service:
        box.key.unlink()
        code, _, error = box.run("audit", "restart", "--yes")
        assert code == 1
        assert "a service uses this database" in error
        assert not box.key.exists()
    # Not confirmed: the key that was created for it is removed again.
    assert box.run("audit", "restart")[0] == 1
    assert not box.key.exists()
    box.key.write_bytes(kept)
    box.key.chmod(0o600)
    assert box.verify() == ([], [])


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit SET subject = 'x' WHERE number = 2", [("altered", 1, BEFORE)]),
        ("UPDATE audit SET mac = upper(mac) WHERE number = 1", [("altered", 1, BEFORE)]),
        ("DELETE FROM audit WHERE number = 1", [("missing", 1, 1), ("altered", 1, BEFORE)]),
        (f"UPDATE audit SET actor = 'x' WHERE number = {RESTART + 1}", None),
        (f"DELETE FROM audit WHERE number > {RESTART}", [("cut off", RESTART + 1, RESTART + 2)]),
    ],
)
def test_changes_after_a_restart_are_detected(
    box: RestartedBox, statement: str, found: list[tuple[str, int, int]] | None
) -> None:
    box.restart()
    box.make("after")
    box.make("later")
    box.edit(statement)
    expected = [("altered", RESTART + 1, RESTART + 1)] if found is None else found
    assert box.verify() == (expected, [(RESTART, True)])


@pytest.mark.parametrize(
    "statement",
    [
        f"DELETE FROM audit WHERE number = {RESTART}",
        f"UPDATE audit SET action = 'key.issue' WHERE number = {RESTART}",
        f"UPDATE audit SET detail = '{{}}' WHERE number = {RESTART}",
        f"UPDATE audit SET at = at + 1 WHERE number = {RESTART}",
        f"DELETE FROM audit WHERE number <= {BEFORE}",
    ],
)
def test_an_altered_restart_hides_nothing(box: RestartedBox, statement: str) -> None:
    box.restart()
    box.make("after")
    box.edit(statement)
    findings, restarts = box.verify()
    assert not any(genuine for _, genuine in restarts)
    found = {number for _, first, last in findings for number in range(first, last + 1)}
    assert {1, BEFORE} <= found


@pytest.mark.parametrize("gap", [False, True])
def test_a_forged_restart_hides_nothing(box: RestartedBox, gap: bool) -> None:
    """A row that claims a restart hides no change, even after a gap, where rows are unverified."""
    box.edit("UPDATE audit SET subject = 'x' WHERE number = 1")
    box.edit("UPDATE audit SET action = 'audit.restart' WHERE number = 3")
    if gap:
        box.edit("DELETE FROM audit WHERE number = 2")
    findings, restarts = box.verify()
    assert restarts == [(3, False)]
    assert ("altered", 1, 1) in findings
    assert (("missing", 2, 2) if gap else ("altered", 3, 3)) in findings
    assert (
        "claims to start a new chain; this key cannot verify the claim"
        in (box.run("audit", "verify")[1])
    )


def test_a_second_restart_names_the_first(box: RestartedBox) -> None:
    box.restart()
    box.make("between")
    box.restart()
    box.make("after")
    assert box.verify() == ([], [(RESTART, False), (RESTART + 2, True)])
    box.edit(f"UPDATE audit SET actor = 'x' WHERE number = {RESTART}")
    assert box.verify()[0] == [("altered", 1, RESTART + 1)]


def test_a_log_without_rows_needs_no_restart(box: RestartedBox) -> None:
    box.edit("DELETE FROM audit")
    box.key.unlink()
    code, _, error = box.run("audit", "restart", "--yes")
    assert code == 1
    assert "to create its key, run: latchkey init" in error
    assert not box.key.exists()
