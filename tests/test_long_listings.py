"""Listings and exports of many rows: 50 by default, streamed with constant memory."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.support import forked
from tests.support.command_line import at_terminal, fails
from tests.support.latchkey_command import run_here
from tests.support.service import Service

_FEW, _MANY = 1_000, 20_000
_ROOM = 6 << 20

_MAKE_KEYS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO credential (api_key, secret_hash, derivation_id, account_id, mode, name, scopes,
                            created_at, origin)
    SELECT 'ak_live_' || printf('%022d', i), CAST(printf('%032d', i) AS BLOB), '',
           (SELECT id FROM account WHERE instance),
           'live', 'key number ' || i, '*', 1700000000000 + i, 'imported' FROM n
"""
_MAKE_ROWS = """
    WITH RECURSIVE n(i) AS (SELECT (SELECT max(number) FROM audit) + 1
                            UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO audit (number, at, action, actor_kind, actor, detail, mac)
    SELECT i, 1700000000000 + i, 'key.revoke', 'command line', 'root', '{}', hex(i) FROM n
"""
_MAKE_ADMINISTRATORS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO administrator (name, password_hash, created_at)
    SELECT 'admin' || printf('%06d', i), 'x', 1700000000000 FROM n
"""


def filled(directory: Path, number: int) -> Service:
    """A database with many keys, administrators and audit rows."""
    directory.mkdir()
    box = Service(directory)
    box.initialize()
    with closing(sqlite3.connect(box.database)) as connection, connection:
        for statement in (_MAKE_KEYS, _MAKE_ROWS, _MAKE_ADMINISTRATORS):
            connection.execute(statement, (number,))
    return box


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return filled(tmp_path_factory.mktemp("few") / "box", _FEW)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Service:
    return filled(tmp_path_factory.mktemp("many") / "box", 1_000_000 if long else _MANY)


# The peak since here: the process that was forked may have used more before. The 5 resets it.
_MEASURED = """
import atexit, re, sys
from pathlib import Path
Path("/proc/self/clear_refs").write_text("5")
def tell():
    (peak,) = re.findall(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    sys.stderr.write(peak)
atexit.register(tell)
from latchkey_service.cli import main
main()
"""


def peak_memory(box: Service, *arguments: str) -> int:
    """The peak memory of a command, in bytes; its output goes to a file."""
    with (
        open(os.devnull, "rb") as nothing,
        (box.directory / "output").open("wb") as output,
        TemporaryFile("w+") as error,
    ):
        process = forked.start(
            list(arguments),
            code=_MEASURED,
            directory=box.directory,
            environment=box.environment(),
            streams=(nothing.fileno(), output.fileno(), error.fileno()),
        )
        assert process.wait() == 0
        error.seek(0)
        return int(error.read()) * 1024


@pytest.mark.parametrize(
    ("command", "noun", "one_more"),
    [
        (["keys", "list"], "key", 2),
        (["admin", "list"], "administrator", 0),
        (["audit", "list"], "row", 0),
    ],
)
def test_fifty_and_how_many_more(
    few: Service, command: list[str], noun: str, one_more: int
) -> None:
    total = _FEW + one_more
    run = run_here(few, *command)
    lines = run.stdout.splitlines()
    assert (run.returncode, len(lines)) == (0, 51)
    assert run.stderr == f"and {total - 50} more {noun}s; use --all to list all\n"
    assert all(line.count("\t") == lines[0].count("\t") for line in lines)
    run = run_here(few, *command, "--limit", str(total - 1))
    assert len(run.stdout.splitlines()) == total
    assert run.stderr == f"and 1 more {noun}; use --all to list all\n"
    run = run_here(few, *command, "--limit", str(total))
    assert (len(run.stdout.splitlines()), run.stderr) == (total + 1, "")
    run = run_here(few, *command, "--all")
    assert (len(run.stdout.splitlines()), run.stderr) == (total + 1, "")
    run = run_here(few, *command, "--json")
    ((_, rows),) = json.loads(run.stdout).items()
    assert (len(rows), run.stderr) == (total, "")
    ((_, rows),) = json.loads(run_here(few, *command, "--json", "--limit", "7").stdout).items()
    assert len(rows) == 7
    assert fails(few, *command, "--all", "--limit", "1", status=2)


def test_a_table_at_a_terminal(few: Service) -> None:
    arguments = ["admin", "list", "--limit", "2"]
    status, screen = at_terminal(few, *arguments, prompt="more administrators", typed="\n")
    assert status == 0
    first, second = screen.splitlines()[1:3]
    assert first.startswith("admin000001  enabled  ")
    assert len(first) == len(second)
    assert "\t" not in screen


def test_control_characters_are_escaped_at_a_terminal(few: Service) -> None:
    with closing(sqlite3.connect(few.database)) as connection, connection:
        change = "UPDATE audit SET actor = ? WHERE number = (SELECT max(number) FROM audit)"
        connection.execute(change, ("\x1b[2J\u202e\tx\ny",))
    said = run_here(few, "audit", "list", "--limit", "1").stdout
    assert "command line \\x1b[2J\\u202e\\tx\\ny" in said
    assert said.count("\n") == 2


@pytest.mark.parametrize(
    "command",
    [
        ["keys", "list", "--all"],
        ["keys", "list", "--json"],
        ["keys", "export"],
        ["audit", "list", "--all"],
        ["audit", "export"],
        ["admin", "list", "--json"],
    ],
    ids=" ".join,
)
def test_memory_does_not_grow(few: Service, many: Service, command: list[str]) -> None:
    small = peak_memory(few, *command)
    assert peak_memory(many, *command) < small + _ROOM
