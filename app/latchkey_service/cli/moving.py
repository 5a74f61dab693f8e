"""``latchkey migrate-database``: the database of an instance, copied into one of another kind."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from latchkey.wording import counted
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import TEXT, json_option, yes_option
from latchkey_service.cli.printing import print_json
from latchkey_service.moving import Moved, move_database


class _CopyQuestions:
    """The questions of a copy, at the terminal, and its progress; ``yes`` skips the questions."""

    def __init__(self, progress: Progress, yes: bool) -> None:
        self._progress = progress
        self._yes = yes
        self._tasks: dict[str, TaskID] = {}

    def begin(self, source: str, target: str) -> None:
        """Called when no service runs, and the target is empty."""
        confirm(f"Copy {source} into {target}?", self._yes)

    def findings(self, messages: list[str]) -> None:
        """Called if the audit log has findings."""
        for line in (
            "The audit log has been altered:",
            *messages,
            "The audit row of this copy will record this, and latchkey audit verify will always "
            "report it.",
        ):
            click.echo(line, err=True)
        confirm("Copy anyway?", self._yes)

    def progress(self, table: str, rows: int) -> None:
        """Called with the number of rows of a table that are copied."""
        if not self._tasks:
            self._progress.start()
        if table not in self._tasks:
            self._tasks[table] = self._progress.add_task(f"Copying {table}", total=None)
        self._progress.update(self._tasks[table], completed=rows)


@click.command("migrate-database")
@click.argument("source", metavar="FROM", type=TEXT)
@click.argument("target", metavar="TO", type=TEXT)
@yes_option
@json_option
def migrate_database_command(source: str, target: str, yes: bool, as_json: bool) -> None:
    """Copy the database FROM into the empty database TO.

    Both are URLs, as in LATCHKEY_DATABASE_URL; usually FROM is SQLite and TO is PostgreSQL. The
    service must be stopped on every box. FROM is migrated to the current revision, and otherwise
    unchanged. All tables are copied in one transaction and compared, and the audit log is verified
    in both databases. After a failure, TO is empty. The settings and key files stay as they are.
    """
    quiet = as_json or not sys.stderr.isatty()
    progress = Progress(console=Console(stderr=True), transient=True, disable=quiet)
    try:
        done = move_database(instance_settings(), source, target, _CopyQuestions(progress, yes))
    finally:
        progress.stop()
    if as_json:
        print_json({"from": done.source, "to": done.target, "rows": done.rows})
        return
    _print(done)


def _print(done: Moved) -> None:
    click.echo(f"copied {done.source} into {done.target}; the audit log is verified in both")
    for table, rows in sorted(done.rows.items()):
        if rows:
            click.echo(f"{table}: {counted(rows, 'row')}")
    click.echo(
        f"Next, set LATCHKEY_DATABASE_URL to {done.target}, with its password as before, and start "
        f"the service. Do not start it with {done.source} again: the two databases do not know "
        "each other's revocations."
    )
