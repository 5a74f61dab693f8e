"""``latchkey backup`` and ``latchkey restore``: the database, never the keys."""

from __future__ import annotations

from pathlib import Path

import click

from app.config import load_settings
from app.restoring import restore
from app.store.backup import back_up
from app.store.location import require_database
from app.wording import counted


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def backup_command(file: Path) -> None:
    """Copy the database to FILE, a new one, while the service runs or not.

    The files of keys are not in it: keep copies of those apart.
    """
    back_up(require_database(load_settings().database_url), file)
    click.echo(f"made {file}")


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore_command(file: Path, yes: bool) -> None:
    """Put the backup FILE in the database's place. The service must be stopped.

    What was revoked, rotated, ended or narrowed since the backup stays so; other changes and keys
    since then are gone. The former database is kept beside the new one.
    """

    def accept_unknown(reason: str) -> None:
        click.echo(f"The database in use cannot be read: {reason}", err=True)
        click.echo(
            "What was revoked since the backup cannot be known: those keys would work again, "
            "narrowed ones could do more, and removed administrators sign in.",
            err=True,
        )
        if not yes:
            click.confirm("Restore all the same?", abort=True, err=True)

    def accept_findings(findings: list[str]) -> None:
        click.echo("The audit log of the database in use is not what was written:", err=True)
        for finding in findings:
            click.echo(finding, err=True)
        click.echo("The row of this restore will say so, and verifying will tell of it.", err=True)
        if not yes:
            click.confirm("Restore all the same?", abort=True, err=True)

    if not yes:
        click.confirm(
            f"Restore {file}? Keys and changes since the backup are lost, but what has ended "
            "stays ended, and no key can do more than now.",
            abort=True,
            err=True,
        )
    done = restore(load_settings(), file, accept_unknown, accept_findings)
    click.echo(f"restored {file}; everybody has to sign in to the console again")
    if done.carried is not None:
        for api_key in done.carried.ended:
            click.echo(f"stays ended: {api_key}")
        for api_key in done.carried.rotated:
            click.echo(f"stays rotated: {api_key}")
        for api_key in done.carried.narrowed:
            click.echo(f"keeps its scopes of now: {api_key}")
        if done.carried.kept:
            click.echo(f"{counted(done.carried.kept, 'key')} taken over that the backup lacks")
        if done.carried.lost:
            click.echo(f"gone: {counted(done.carried.lost, 'key')} made since the backup")
        for name in done.carried.kept_out:
            click.echo(
                f"disabled, for the former database does not have this administrator: {name}"
            )
        if not done.carried.audited:
            click.echo("the audit log begins at the backup: the former database has another")
    if done.aside is not None:
        click.echo(f"the former database is {done.aside}")
