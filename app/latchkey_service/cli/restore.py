"""``latchkey restore``: a backup in place of the database in use."""

from __future__ import annotations

from pathlib import Path

import click

from latchkey.store.carrying.carried import Carried
from latchkey.wording import counted
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.instance import sqlite_settings
from latchkey_service.cli.options import SHOWN, yes_option
from latchkey_service.restoring import restore


class _Questions:
    """The questions of a restore, at the terminal; ``yes`` skips them."""

    def __init__(self, file: Path, yes: bool) -> None:
        self._file = file
        self._yes = yes

    def begin(self) -> None:
        """Called when the backup is intact and no service runs."""
        confirm(
            f"Restore {self._file}? Changes and new keys since the backup will be lost. Revoked "
            "and expired keys stay revoked or expired, and no key gains scopes.",
            self._yes,
        )

    def unknown(self, reason: str) -> None:
        """Called if the database in use cannot be read."""
        self._ask(
            f"The database in use cannot be read: {reason}",
            "Changes since the backup are unknown: keys that were revoked would work again, "
            "removed scopes would return, and removed administrators could sign in.",
        )

    def findings(self, messages: list[str]) -> None:
        """Called if the audit log of the database in use has findings."""
        self._ask(
            "The audit log of the database in use has been altered:",
            *messages,
            "The audit row of this restore will record this, and latchkey audit verify will always "
            "report it.",
        )

    def not_vouched(self, keys: int, active: int, reason: str) -> None:
        """Called if the service would refuse active keys."""
        self._ask(
            f"The service would refuse {keys} of {counted(active, 'active key')} in the backup: "
            f"{reason}.",
            "If this is the backup of another instance, restore it there, or add the derivation "
            "keys of that instance first.",
        )

    def _ask(self, *lines: str) -> None:
        for line in lines:
            click.echo(line, err=True)
        confirm("Restore anyway?", self._yes)


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@yes_option
@click.option(
    "--all", "every", is_flag=True, help=f"Name every key, not only {SHOWN} of each kind."
)
def restore_command(file: Path, yes: bool, every: bool) -> None:
    """Replace the database with the backup FILE. The service must be stopped.

    Restrictions since the backup stay in effect: revocations, rotations, earlier expiries, removed
    scopes, and disabled and erased accounts. Accounts that the backup lacks are kept, and every
    account keeps its external id. New keys are kept if they have an expiry or fewer rights than a
    registered pair. Other changes and new keys are lost. The previous database is kept beside the
    new one.
    """
    settings = sqlite_settings("pg_restore, and then: latchkey reconcile")
    done = restore(settings, file, _Questions(file, yes))
    click.echo(f"restored {file}; all administrators must sign in again")
    if done.carried is not None:
        print_carried(done.carried, None if every else SHOWN)
    if done.aside is not None:
        click.echo(f"the previous database is {done.aside}")


def print_carried(carried: Carried, shown: int | None) -> None:
    """Print what a restore takes over; at most ``shown`` names of each kind, None for all."""
    _print_each("stays disabled", carried.accounts.disabled, shown, "account")
    _print_each("stays erased", carried.accounts.erased, shown, "account")
    _print_each("stays revoked or expired", carried.ended, shown, "key")
    _print_each("stays rotated", carried.rotated, shown, "key")
    _print_each("keeps its current scopes, conditions or limits", carried.narrowed, shown, "key")
    if carried.accounts.kept:
        click.echo(f"kept: {counted(carried.accounts.kept, 'account')} missing from the backup")
    if carried.kept:
        click.echo(f"kept: {counted(carried.kept, 'key')} missing from the backup")
    if carried.lost:
        click.echo(f"lost: {counted(carried.lost, 'key')} created since the backup")
    _print_each(
        "disabled, because the previous database does not contain this administrator",
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
