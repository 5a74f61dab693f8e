"""``latchkey accounts``: the customers that keys belong to.

A change takes effect in every worker of a running service before the command returns, as for keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import click

from latchkey.credentials.accounts import (
    Account,
    AccountChange,
    AccountSelection,
    AccountStatus,
    RevokedKeys,
)
from latchkey.credentials.models import MODES, Mode
from latchkey.credentials.times import utc_now
from latchkey.wording import counted
from latchkey_service import strict_json
from latchkey_service.cli.account_erasure import erase_account
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.limit_options import limit_options
from latchkey_service.cli.limit_output import remaining_of_account, with_readable_limits
from latchkey_service.cli.options import (
    SHOWN,
    TEXT,
    account_argument,
    json_option,
    length_options,
    only_mode_option,
    rows_shown,
    yes_option,
)
from latchkey_service.cli.printing import (
    print_fields,
    print_json,
    print_json_list,
    print_rest,
    print_table,
)
from latchkey_service.cli.session import Session, changing, reading
from latchkey_service.cli.usage_output import print_usage
from latchkey_service.command_user import command_line_user
from latchkey_service.shapes.accounts import AccountChangeBody, AccountObject, NewAccountBody
from latchkey_service.shapes.limits import limits_of
from latchkey_service.shapes.objects import AccountUsageObject
from latchkey_service.shapes.problems import validated

_COUNTED_AT_ONCE = 1_000


@click.group()
def accounts() -> None:
    """Manage accounts: the customers that keys belong to.

    ACCOUNT is the id of an account, acct_…, or its external id.
    """


@accounts.command("create")
@click.option("--name", type=TEXT, required=True, help="The name of the customer.")
@click.option("--external-id", type=TEXT, metavar="ID", help="Your own id of the customer.")
@click.option("--metadata", type=TEXT, metavar="JSON", help="A JSON object of your own.")
@limit_options
@json_option
def create_account(
    name: str,
    external_id: str | None,
    metadata: str | None,
    limits: dict[str, object],
    as_json: bool,
) -> None:
    """Create an account.

    Its limits apply to all its keys together, separately for live and test keys.
    """
    given: dict[str, object] = {"name": name, **limits}
    if external_id is not None:
        given["external_id"] = external_id
    if metadata is not None:
        given["metadata"] = _parsed(metadata)
    terms = validated(NewAccountBody, given)
    with changing(migrate=True) as session:
        made = session.accounts.create(
            name=terms.name,
            external_id=terms.external_id,
            metadata=terms.metadata_text(),
            limits=limits_of(terms.limits),
            caller=None,
            by=command_line_user(),
        )
        fields = _fields(session, made)
    _print(fields, as_json)


@accounts.command("list")
@click.option(
    "--search",
    type=TEXT,
    metavar="TEXT",
    help="Only accounts whose name, external id or id contains TEXT, ignoring case.",
)
@click.option(
    "--status", type=click.Choice(get_args(AccountStatus)), help="Only accounts of this status."
)
@length_options
@json_option
def list_accounts(
    search: str | None,
    status: AccountStatus | None,
    limit: int | None,
    every: bool,
    as_json: bool,
) -> None:
    """List accounts, newest first, with the number of their keys that are not revoked."""
    shown = rows_shown(limit, every, as_json)
    selection = AccountSelection(search=search, status=status)
    with reading() as session:
        rows = _rows(session, session.accounts.newest(selection, shown))
        if as_json:
            print_json_list("accounts", rows)
            return
        print_table(
            ["account", "external id", "name", "status", "keys", "created"], map(_cells, rows)
        )
        if shown is not None:
            print_rest(session.store.accounts.count(selection) - shown, "account")


@accounts.command("show")
@account_argument
@json_option
def show_account(account: str, as_json: bool) -> None:
    """Show one account, with what remains of its limits, as latchkey keys show does."""
    with reading() as session:
        found = session.accounts.named(account)
        fields = _fields(session, found)
        remaining = remaining_of_account(session, found)
    if as_json:
        print_json({**fields, **remaining.fields()})
    else:
        _print(fields, as_json)
        remaining.print_after_fields()


@accounts.command("change")
@account_argument
@click.option("--name", type=TEXT, help="The new name.")
@click.option(
    "--external-id", type=TEXT, metavar="ID", help="The new external id; an empty one removes it."
)
@click.option(
    "--metadata",
    type=TEXT,
    metavar="JSON",
    help="A JSON object that replaces the present one; null removes it.",
)
@limit_options
@json_option
def change_account(
    account: str,
    name: str | None,
    external_id: str | None,
    metadata: str | None,
    limits: dict[str, object],
    as_json: bool,
) -> None:
    """Change the name, the external id, the metadata or the limits of an account.

    A quota in total keeps what was spent of it. To begin it anew, use latchkey limits reset.
    """
    given: dict[str, object] = dict(limits)
    if name is not None:
        given["name"] = name
    if external_id is not None:
        given["external_id"] = external_id or None
    if metadata is not None:
        given["metadata"] = _parsed(metadata)
    if not given:
        raise click.UsageError(
            "Nothing to change: give --name, --external-id, --metadata or limits."
        )
    terms = replace(validated(AccountChangeBody, given).change(), keeps_totals=True)
    _change(account, terms, as_json)


@accounts.command("disable")
@account_argument
@json_option
def disable_account(account: str, as_json: bool) -> None:
    """Refuse every key of an account, until it is enabled again.

    The instance account cannot be disabled.
    """
    _change(account, AccountChange(status="disabled"), as_json)


@accounts.command("enable")
@account_argument
@json_option
def enable_account(account: str, as_json: bool) -> None:
    """Accept the keys of a disabled account again.

    Keys that are revoked, expired or disabled themselves stay refused.
    """
    _change(account, AccountChange(status="active"), as_json)


@accounts.command("revoke-keys")
@account_argument
@only_mode_option
@click.option(
    "--dry-run", is_flag=True, help="Print the keys that would be revoked, and change nothing."
)
@yes_option
@json_option
def revoke_keys(account: str, mode: Mode | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Revoke all keys of an account permanently, or those of one mode.

    The command prints the keys first, and asks for confirmation.
    """
    if dry_run:
        with reading() as session:
            found = session.accounts.named(account)
            matched = session.accounts.revoke_keys(
                found.id, mode, None, dry_run=True, by=command_line_user()
            )
        _print_revoked(found, matched, as_json)
        return
    if not yes:
        # Ask outside the block: a service that starts meanwhile must not wait for the answer.
        with changing() as session:
            found = session.accounts.named(account)
            matched = session.accounts.revoke_keys(
                found.id, mode, None, dry_run=True, by=command_line_user()
            )
        if matched.matched:
            _print_keys(matched, err=True)
            confirm(
                f"Revoke {_counted_keys(matched.matched, mode)} of {_label(found)}? "
                "This cannot be undone.",
                yes,
            )
    with changing() as session:
        found = session.accounts.named(account)
        revoked = session.accounts.revoke_keys(found.id, mode, None, by=command_line_user())
    _print_revoked(found, revoked, as_json)


@accounts.command("usage")
@account_argument
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="live",
    show_default=True,
    help="The mode of the keys to count.",
)
@json_option
def show_usage(account: str, mode: Mode, as_json: bool) -> None:
    """Show how often the keys of an account were used and refused, as sums of all its keys."""
    with reading() as session:
        found = session.accounts.named(account)
        usage = session.usage.usage_of_account(found.id, mode)
        levels = session.limit_levels.levels_of(found, mode)
    shown = AccountUsageObject.of(found.id, mode, usage, levels, utc_now())
    fields = shown.model_dump(mode="json")
    if as_json:
        print_json(fields)
    else:
        print_usage({"account": found.id, "mode": mode}, fields)


accounts.add_command(erase_account)


def _change(account: str, terms: AccountChange, as_json: bool) -> None:
    with changing() as session:
        found = session.accounts.named(account)
        changed = session.accounts.change(found.id, terms, None, by=command_line_user())
        fields = _fields(session, changed)
    _print(fields, as_json)


def _parsed(metadata: str) -> object:
    try:
        return strict_json.loads(metadata)
    except (ValueError, RecursionError):
        raise click.UsageError(
            '--metadata must be a JSON object, such as \'{"plan": "gold"}\'.'
        ) from None


def _rows(session: Session, found: Iterable[Account]) -> Iterator[dict[str, Any]]:
    """The fields of accounts, each with the number of its keys, read in batches."""
    left = iter(found)
    while batch := list(islice(left, _COUNTED_AT_ONCE)):
        counts = session.store.accounts.key_counts([one.id for one in batch])
        for one in batch:
            fields = AccountObject.of(one).model_dump(mode="json")
            yield {**fields, "keys": counts[one.id], "instance": one.is_instance}


def _fields(session: Session, account: Account) -> dict[str, Any]:
    return next(_rows(session, [account]))


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["id"],
        row["external_id"] or "",
        row["name"] or "",
        row["status"],
        str(row["keys"]),
        row["created_at"],
    ]


def _print(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(fields)
    else:
        shown = {name: value for name, value in fields.items() if name != "object"}
        print_fields(with_readable_limits(shown))


def _print_revoked(account: Account, result: RevokedKeys, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "account": account.id,
                "matched": result.matched,
                "revoked": result.revoked,
                "api_keys": result.api_keys,
            }
        )
        return
    _print_keys(result, err=False)
    done = result.revoked or not result.matched
    number = _counted_keys(result.matched, None)
    click.echo(f"{'revoked' if done else 'would revoke'} {number} of {_label(account)}")


def _print_keys(result: RevokedKeys, *, err: bool) -> None:
    """Print the newest keys, and the number of the others."""
    for api_key in result.api_keys[:SHOWN]:
        click.echo(api_key, err=err)
    more = result.matched - SHOWN
    if more > 0:
        click.echo(f"and {counted(more, 'more key')}", err=err)


def _counted_keys(number: int, mode: Mode | None) -> str:
    return counted(number, "key" if mode is None else f"{mode} key")


def _label(account: Account) -> str:
    return f"{account.name or 'the erased account'} ({account.id})"
