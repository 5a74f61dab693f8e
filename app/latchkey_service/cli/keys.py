"""``latchkey keys``: create, list, show, change, rotate and revoke keys.

A change takes effect in every worker of a running service before the command returns. If that is
impossible, the command changes nothing and prints the reason.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import click

from latchkey.credentials.accounts import Account
from latchkey.credentials.listing import AsOf, Selection
from latchkey.credentials.models import Mode
from latchkey.credentials.service import DEFAULT_OVERLAP, LONGEST_OVERLAP, IssuedCredential
from latchkey.credentials.times import utc_now
from latchkey.errors import CredentialNotFound
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.condition_options import condition_options
from latchkey_service.cli.exporting import export_command
from latchkey_service.cli.importing import import_command
from latchkey_service.cli.key_fields import key_fields
from latchkey_service.cli.limit_options import limit_options
from latchkey_service.cli.limit_output import remaining_of_key, with_readable_limits
from latchkey_service.cli.options import (
    NEVER,
    TEXT,
    Never,
    account_option,
    api_key_argument,
    expiry_option,
    json_option,
    length_options,
    mode_option,
    only_mode_option,
    rows_shown,
    scope_option,
    yes_option,
)
from latchkey_service.cli.printing import (
    print_fields,
    print_json,
    print_json_list,
    print_rest,
    print_table,
    secret_shown,
)
from latchkey_service.cli.session import Session, changing, reading
from latchkey_service.cli.usage_output import print_usage
from latchkey_service.command_user import command_line_user
from latchkey_service.shapes.objects import UsageObject
from latchkey_service.shapes.problems import validated
from latchkey_service.shapes.requests import ChangeBody, IssueBody


@click.group()
def keys() -> None:
    """Manage the keys in the database."""


keys.add_command(import_command)
keys.add_command(export_command)


@keys.command("create")
@click.option("--name", type=TEXT, required=True, help="A name that says what the key is for.")
@account_option("The account that the key belongs to; default: the instance account.")
@mode_option
@scope_option("default: full access")
@expiry_option("; default: never")
@limit_options
@condition_options
@json_option
def create_key(
    name: str,
    account: str | None,
    mode: Mode,
    scopes: tuple[str, ...],
    expires_at: datetime | Never | None,
    conditions: dict[str, object],
    limits: dict[str, object],
    as_json: bool,
) -> None:
    """Create a key.

    Prints the key with its secret. The secret is shown only once. A key for another account than
    the instance account needs --scope.
    """
    given: dict[str, object] = {"name": name, "mode": mode, **conditions, **limits}
    if scopes:
        given["scopes"] = list(scopes)
    if expires_at is not None:
        given["expires_at"] = None if isinstance(expires_at, Never) else expires_at
    terms = validated(IssueBody, given).terms()
    with changing(migrate=True) as session:
        if account is not None:
            terms["account"] = session.accounts.named(account).id
        issued = session.credentials.issue(caller=None, by=command_line_user(), **terms)
        fields = key_fields(session, issued.credential)
    _print_issued(issued, fields, as_json)


@keys.command("list")
@account_option("Only keys of this account.")
@only_mode_option
@click.option("--due", is_flag=True, help="Only active keys that are due for rotation.")
@length_options
@json_option
def list_keys(
    account: str | None,
    mode: Mode | None,
    due: bool,
    limit: int | None,
    every: bool,
    as_json: bool,
) -> None:
    """List keys, newest first.

    The latest 50 are listed, or all with --all or --json. A rotated key is no longer due. At a
    terminal, the output is a table; otherwise, it has tab-separated lines. The last column is the
    external id of the key's account, or its id; it is empty for the instance account.
    """
    shown = rows_shown(limit, every, as_json)
    with reading() as session:
        selection = Selection(
            mode=mode,
            concern="due" if due else None,
            account_id=None if account is None else session.accounts.named(account).id,
        )
        as_of = AsOf(utc_now(), timedelta(days=session.settings.rotation_days))
        found = session.listing.newest(selection, as_of, shown)
        if as_json:
            print_json_list("credentials", (key_fields(session, one) for one in found))
            return
        print_table(
            ["key", "name", "mode", "scopes", "status", "created", "expires", "account"],
            ([*_cells(key_fields(session, one)), _owner(one.account)] for one in found),
        )
        if shown is not None:
            print_rest(session.listing.count(selection, as_of) - shown, "key")


@keys.command("show")
@api_key_argument
@json_option
def show_key(api_key: str, as_json: bool) -> None:
    """Show one key, with what remains of its limits.

    What remains is read from the memory of the running service. If there is none, rates are shown
    as full, and quotas as the database has them.
    """
    with reading() as session:
        credential = session.credentials.get(api_key, None)
        fields = key_fields(session, credential)
        remaining = remaining_of_key(session, credential)
    if as_json:
        print_json({**fields, **remaining.fields()})
    else:
        print_fields(with_readable_limits(fields))
        remaining.print_after_fields()


@keys.command("usage")
@api_key_argument
@json_option
def show_usage(api_key: str, as_json: bool) -> None:
    """Show how often a key was used and refused."""
    with reading() as session:
        credential = session.credentials.get(api_key, None)
        levels = session.limit_levels.levels_of(credential, credential.mode)
        usage = UsageObject.of(api_key, session.usage.usage(credential), levels, utc_now())
    fields = usage.model_dump(mode="json")
    if as_json:
        print_json(fields)
        return
    print_usage({"api_key": api_key}, fields)


@keys.command("change")
@api_key_argument
@click.option("--name", type=TEXT, help="The new name.")
@scope_option("replaces all current scopes")
@expiry_option()
@limit_options
@condition_options
@json_option
def change_key(
    api_key: str,
    name: str | None,
    scopes: tuple[str, ...],
    expires_at: datetime | Never | None,
    conditions: dict[str, object],
    limits: dict[str, object],
    as_json: bool,
) -> None:
    """Change the name, the scopes, the expiry, the limits or the conditions of a key.

    If you set limits on a key that shares the limits of another key, it gets limits of its own. A
    quota in total keeps what was spent of it. To begin it anew, use latchkey limits reset.
    """
    given: dict[str, object] = {**conditions, **limits}
    if name is not None:
        given["name"] = name
    if scopes:
        given["scopes"] = list(scopes)
    if expires_at is not None:
        given["expires_at"] = None if isinstance(expires_at, Never) else expires_at
    if not given:
        raise click.UsageError(
            "Nothing to change: give --name, --scope, --expires-at, limits or a condition."
        )
    terms = replace(validated(ChangeBody, given).change(), keeps_totals=True)
    with changing() as session:
        changed = session.credentials.change(api_key, terms, None, by=command_line_user())
        fields = key_fields(session, changed)
    if as_json:
        print_json(fields)
    else:
        print_fields(with_readable_limits(fields))


@keys.command("rotate")
@api_key_argument
@click.option(
    "--overlap",
    metavar="SECONDS",
    type=click.IntRange(0, round(LONGEST_OVERLAP.total_seconds())),
    default=round(DEFAULT_OVERLAP.total_seconds()),
    show_default=True,
    help="Seconds for which the old key keeps working.",
)
@json_option
def rotate_key(api_key: str, overlap: int, as_json: bool) -> None:
    """Replace a key by a successor with a new secret.

    Prints the successor with its secret. The secret is shown only once. Both keys work until the
    overlap ends.
    """
    with changing() as session:
        issued = session.credentials.rotate(
            api_key, None, timedelta(seconds=overlap), by=command_line_user()
        )
        fields = key_fields(session, issued.credential)
    _print_issued(issued, fields, as_json)


@keys.command("revoke")
@api_key_argument
@yes_option
@json_option
def revoke_key(api_key: str, yes: bool, as_json: bool) -> None:
    """Revoke a key permanently."""
    if not yes:
        # Ask outside the block: a service that starts meanwhile must not wait for the answer.
        with changing() as session:
            credential = session.credentials.get(api_key, None)
        if credential.revoked_at is None:
            label = credential.name or "unnamed"
            confirm(f"Revoke {api_key} ({credential.mode}, {label})? This cannot be undone.", yes)
    with changing() as session:
        _revoke(session, api_key)
    if as_json:
        print_json({"api_key": api_key, "revoked": True})
    else:
        click.echo(f"revoked {api_key}")


def _revoke(session: Session, api_key: str) -> None:
    """Revoke also a revoked key: an earlier call may have died before the invalidation."""
    try:
        session.credentials.revoke(api_key, None, by=command_line_user())
    except CredentialNotFound:
        if session.credentials.get(api_key, None).revoked_at is not None:
            raise CredentialNotFound("The key is already revoked") from None
        raise


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["api_key"],
        row["name"] or "",
        row["mode"],
        " ".join(row["scopes"]),
        row["status"],
        row["created_at"],
        row["expires_at"] or NEVER,
    ]


def _owner(account: Account) -> str:
    """The account of a key in a table, short where it is the usual one."""
    return "" if account.is_instance else account.external_id or account.id


def _print_issued(issued: IssuedCredential, fields: dict[str, Any], as_json: bool) -> None:
    with secret_shown(issued):
        if as_json:
            print_json({**fields, "api_secret": issued.secret})
            return
        print_fields(with_readable_limits(fields))
        click.echo(f"\napi_secret  {issued.secret}\n\nThe secret is shown only once.")
