"""Backups and restores by the command line, and what they leave in the database."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.latchkey_command import run
from tests.support.service import Service


def back_up(box: Service, name: str) -> Path:
    file = box.directory / name
    run(box, "backup", str(file))
    return file


def restore(box: Service, file: Path) -> str:
    return run(box, "restore", str(file), "--yes")


def edit(box: Service, *statements: str) -> None:
    """Change the database with other tools."""
    with closing(sqlite3.connect(box.database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def import_token(box: Service, token: str) -> str:
    """Import a token of another system; returns its API key."""
    file = box.directory / "keys.jsonl"
    digest = hashlib.sha256(token.encode()).hexdigest()
    file.write_text(json.dumps({"name": "theirs", "sha256": digest}) + "\n")
    return str(json.loads(run(box, "keys", "import", str(file), "--json"))["api_keys"][0])


def last_number(box: Service) -> int:
    """The number of the last row of the audit log."""
    with closing(sqlite3.connect(box.database)) as connection:
        return int(connection.execute("SELECT max(number) FROM audit").fetchone()[0])


def detail_of_the_last(box: Service) -> dict[str, object]:
    entry = json.loads(run(box, "audit", "list", "--limit", "1", "--json"))["entries"][0]
    assert entry["action"] == "store.restore"
    detail: dict[str, object] = json.loads(entry["detail"])
    return detail
