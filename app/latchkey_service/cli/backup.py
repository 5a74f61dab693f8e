"""``latchkey backup`` and ``latchkey restore``: the database, never the keys."""

from __future__ import annotations

from pathlib import Path

import click

from latchkey.files.owner import as_caller, owner_of
from latchkey.store.sqlite.backup import back_up
from latchkey.store.sqlite.location import require_database
from latchkey.store.sqlite.restore import Carried
from latchkey.wording import counted
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import SHOWN, yes_option
from latchkey_service.restoring import restore


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def backup_command(file: Path) -> None:
    """Copy the database to FILE, a new one, while the service runs or not.

    The files of keys are not in it: keep copies of those apart.
    """
    database = require_database(instance_settings().database_url)
    with as_caller():
        back_up(database, file, owner=owner_of(database))
    click.echo(f"made {file}")


class _Questions:
    """What a restore asks, at the terminal; with ``yes`` it is only told."""

    def __init__(self, file: Path, yes: bool) -> None:
        self._file = file
        self._yes = yes

    def begin(self) -> None:
        """Called when the backup is whole, and no service runs."""
        confirm(
            f"Restore {self._file}? Keys and changes since the backup are lost, but what has ended "
            "stays ended, and no key can do more than now.",
            self._yes,
        )

    def unknown(self, reason: str) -> None:
        """Called where the database in use cannot be read."""
        self._ask(
            f"The database in use cannot be read: {reason}",
            "What was revoked since the backup cannot be known: those keys would work again, "
            "narrowed ones could do more, and removed administrators sign in.",
        )

    def findings(self, messages: list[str]) -> None:
        """Called where its audit log is not whole."""
        self._ask(
            "The audit log of the database in use is not what was written:",
            *messages,
            "The row of this restore will say so, and verifying will tell of it.",
        )

    def not_vouched(self, keys: int, active: int, reason: str) -> None:
        """Called where the service would refuse active keys."""
        self._ask(
            f"{keys} of {counted(active, 'active key')} in the restored database would be refused: "
            f"{reason}.",
            "If this is the backup of another instance, restore it there, or list its derivation "
            "keys first.",
        )

    def _ask(self, *lines: str) -> None:
        for line in lines:
            click.echo(line, err=True)
        confirm("Restore all the same?", self._yes)


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@yes_option
@click.option("--all", "every", is_flag=True, help=f"Name every key, not {SHOWN} of each kind.")
def restore_command(file: Path, yes: bool, every: bool) -> None:
    """Put the backup FILE in the database's place. The service must be stopped.

    What was revoked, rotated, ended or narrowed since the backup stays so; other changes and keys
    since then are gone. The former database is kept beside the new one.
    """
    done = restore(instance_settings(), file, _Questions(file, yes))
    click.echo(f"restored {file}; everybody has to sign in to the console again")
    if done.carried is not None:
        _print_carried(done.carried, None if every else SHOWN)
    if done.aside is not None:
        click.echo(f"the former database is {done.aside}")


def _print_carried(carried: Carried, shown: int | None) -> None:
    _print_each("stays ended", carried.ended, shown, "key")
    _print_each("stays rotated", carried.rotated, shown, "key")
    _print_each("keeps its scopes of now", carried.narrowed, shown, "key")
    if carried.kept:
        click.echo(f"{counted(carried.kept, 'key')} taken over that the backup lacks")
    if carried.lost:
        click.echo(f"gone: {counted(carried.lost, 'key')} made since the backup")
    _print_each(
        "disabled, for the former database does not have this administrator",
        carried.kept_out,
        shown,
        "administrator",
    )
    if not carried.audited:
        click.echo("the audit log begins at the backup: the former database has another")


def _print_each(what: str, names: list[str], shown: int | None, noun: str) -> None:
    for name in names[:shown]:
        click.echo(f"{what}: {name}")
    if shown is not None and len(names) > shown:
        click.echo(f"{what}: {counted(len(names) - shown, f'more {noun}')}")
