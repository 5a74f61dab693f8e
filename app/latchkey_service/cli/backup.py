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
    """Copy the database to a new FILE. The service may run.

    The copy does not contain the key files: back them up separately.
    """
    database = require_database(instance_settings().database_url)
    with as_caller():
        back_up(database, file, owner=owner_of(database))
    click.echo(f"made {file}")


class _Questions:
    """The questions of a restore, at the terminal; ``yes`` skips them."""

    def __init__(self, file: Path, yes: bool) -> None:
        self._file = file
        self._yes = yes

    def begin(self) -> None:
        """Called when the backup is whole, and no service runs."""
        confirm(
            f"Restore {self._file}? Keys and changes since the backup are lost, but revoked and "
            "expired keys stay so, and no key gains rights.",
            self._yes,
        )

    def unknown(self, reason: str) -> None:
        """Called if the database in use cannot be read."""
        self._ask(
            f"The database in use cannot be read: {reason}",
            "Changes since the backup are unknown: revoked keys would work again, removed scopes "
            "would come back, and removed administrators could sign in.",
        )

    def findings(self, messages: list[str]) -> None:
        """Called if its audit log has findings."""
        self._ask(
            "The audit log of the database in use has been altered:",
            *messages,
            "The row of this restore will record this, and latchkey audit verify will report it.",
        )

    def not_vouched(self, keys: int, active: int, reason: str) -> None:
        """Called if the service would refuse active keys."""
        self._ask(
            f"{keys} of {counted(active, 'active key')} in the restored database would be refused: "
            f"{reason}.",
            "If this is the backup of another instance, restore it there, or list its derivation "
            "keys first.",
        )

    def _ask(self, *lines: str) -> None:
        for line in lines:
            click.echo(line, err=True)
        confirm("Restore anyway?", self._yes)


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@yes_option
@click.option("--all", "every", is_flag=True, help=f"Name every key, not just {SHOWN} of a kind.")
def restore_command(file: Path, yes: bool, every: bool) -> None:
    """Replace the database with the backup FILE. The service must be stopped.

    Revocations, rotations, earlier expiries and removed scopes since the backup stay in effect.
    Other changes and keys since then are lost. The previous database is kept beside the new one.
    """
    done = restore(instance_settings(), file, _Questions(file, yes))
    click.echo(f"restored {file}; all administrators must sign in again")
    if done.carried is not None:
        _print_carried(done.carried, None if every else SHOWN)
    if done.aside is not None:
        click.echo(f"the previous database is {done.aside}")


def _print_carried(carried: Carried, shown: int | None) -> None:
    _print_each("stays revoked or expired", carried.ended, shown, "key")
    _print_each("stays rotated", carried.rotated, shown, "key")
    _print_each("keeps its present scopes", carried.narrowed, shown, "key")
    if carried.kept:
        click.echo(f"taken over: {counted(carried.kept, 'key')} missing in the backup")
    if carried.lost:
        click.echo(f"lost: {counted(carried.lost, 'key')} made since the backup")
    _print_each(
        "disabled, because this administrator is not in the previous database",
        carried.kept_out,
        shown,
        "administrator",
    )
    if not carried.audited:
        click.echo("the audit log begins at the backup; it does not continue the previous one")


def _print_each(what: str, names: list[str], shown: int | None, noun: str) -> None:
    for name in names[:shown]:
        click.echo(f"{what}: {name}")
    if shown is not None and len(names) > shown:
        click.echo(f"{what}: {counted(len(names) - shown, f'more {noun}')}")
