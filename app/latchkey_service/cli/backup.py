"""``latchkey backup``: a copy of the database, never of the keys."""

from __future__ import annotations

from pathlib import Path

import click

from latchkey.files.owner import as_caller, owner_of
from latchkey.store.sqlite.backup import back_up
from latchkey.store.sqlite.location import require_database
from latchkey_service.cli.instance import sqlite_settings


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def backup_command(file: Path) -> None:
    """Copy the database to a new FILE. The service can keep running.

    The copy does not contain the key files. Back them up separately.
    """
    database = require_database(sqlite_settings("pg_dump").database_url)
    with as_caller():
        back_up(database, file, owner=owner_of(database))
    click.echo(f"created {file}")
