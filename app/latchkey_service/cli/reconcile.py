"""``latchkey reconcile``: a restored PostgreSQL database keeps every restriction made since."""

from __future__ import annotations

import click

from latchkey.store.carrying.carried import Carried
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import SHOWN, TEXT, yes_option
from latchkey_service.cli.restore import print_carried
from latchkey_service.reconciling import reconcile_database


class _ReconcileQuestions:
    """The questions of a reconciliation, at the terminal; ``yes`` skips them."""

    def __init__(self, yes: bool, shown: int | None) -> None:
        self._yes = yes
        self._shown = shown

    def begin(self, carried: Carried, database: str, former: str) -> None:
        """Called with the plan."""
        click.echo(f"taken over from {former}:")
        print_carried(carried, self._shown)
        confirm(f"Apply these restrictions to {database}?", self._yes)

    def findings(self, messages: list[str]) -> None:
        """Called if the audit log, as it would be, has findings."""
        for line in (
            "The audit log has been altered:",
            *messages,
            "The audit row of this command will record this, and latchkey audit verify will always "
            "report it.",
        ):
            click.echo(line, err=True)
        confirm("Reconcile anyway?", self._yes)


@click.command("reconcile")
@click.argument("newer", metavar="BACKUP_OR_URL", type=TEXT)
@yes_option
@click.option(
    "--all", "every", is_flag=True, help=f"Name every key, not only {SHOWN} of each kind."
)
def reconcile_command(newer: str, yes: bool, every: bool) -> None:
    """Keep restrictions in effect that a restored PostgreSQL database lacks.

    Use it after pg_restore or a point-in-time recovery. BACKUP_OR_URL is where newer changes are
    known: a file that latchkey backup made, or the URL of another database, such as the previous
    one. The rules are those of latchkey restore: revocations, rotations, earlier expiries, removed
    scopes, stricter conditions, and disabled and erased accounts stay in effect. The service must
    be stopped on every box. The command shows what it will take over, and asks
    for confirmation.
    """
    done = reconcile_database(
        instance_settings(), newer, _ReconcileQuestions(yes, None if every else SHOWN)
    )
    click.echo(f"reconciled with {done.former}; all administrators must sign in again")
