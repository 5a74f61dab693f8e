"""``latchkey limits``: show what remains of the limits of a key or an account, and reset them."""

from __future__ import annotations

import click

from latchkey.credentials.accounts import Account
from latchkey.credentials.limit_rules import limits_to_reset
from latchkey.credentials.listing import LimitSharing
from latchkey.credentials.models import Credential
from latchkey.wording import counted
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.limit_output import remaining_of_account, remaining_of_key
from latchkey_service.cli.options import TEXT, json_option, yes_option
from latchkey_service.cli.printing import print_json
from latchkey_service.cli.session import Session, changing, reading
from latchkey_service.command_user import command_line_user

_KEYS = ("ak_live_", "ak_test_")

_holder_argument = click.argument("holder", metavar="KEY_OR_ACCOUNT", type=TEXT)


@click.group()
def limits() -> None:
    """Show or reset the limits of a key or an account.

    KEY_OR_ACCOUNT is a key, ak_…, or an account, by its id or its external id. To set limits, use
    latchkey keys change and latchkey accounts change.
    """


@limits.command("show")
@_holder_argument
@json_option
def show_limits(holder: str, as_json: bool) -> None:
    """Show what remains of the limits that apply to a key, or of those of an account.

    For a key, the limits of its account and the default limit are included. What remains is read
    from the memory of the running service. If there is none, rates are shown as full, and quotas as
    the database has them.
    """
    with reading() as session:
        found = _named(session, holder)
        if isinstance(found, Credential):
            remaining = remaining_of_key(session, found)
        else:
            remaining = remaining_of_account(session, found)
    if as_json:
        print_json({**_reference(found), **remaining.fields()})
    else:
        remaining.print_table()


@limits.command("reset")
@_holder_argument
@click.option("--name", type=TEXT, help="Only the limit with this name; default: all limits.")
@yes_option
@json_option
def reset_limits(holder: str, name: str | None, yes: bool, as_json: bool) -> None:
    """Fill the rates of a key or an account, and begin its quotas anew.

    For a key, these are its own limits, or those that it shares with other keys: then they are
    reset for all of these keys. For an account, these are its limits in both modes, but not the
    limits of its keys. Rates are reset in the memory of the service on this machine, quotas in the
    database. The reset takes effect before the command returns. The command asks for confirmation.
    """
    if not yes:
        # Ask outside the block: a service that starts meanwhile must not wait for the answer.
        with changing() as session:
            found = _named(session, holder)
            names = limits_to_reset(session.limits.limits_of(found), _only(name))
            sharing = _sharing(session, found)
        what = f"Reset {', '.join(names)} of {_label(found)}?"
        confirm(" ".join([what, *_affected(sharing)]), yes)
    with changing() as session:
        found = _named(session, holder)
        sharing = _sharing(session, found)
        names = session.limit_resets.reset(found, _only(name), by=command_line_user())
        runs = session.shared.segment is not None
    if as_json:
        also = {"total": sharing.total, "first": [one.api_key for one in sharing.first]}
        fields = {**_reference(found), "reset": names, "also_affected": also}
        print_json({**fields, "service_running": runs})
        return
    click.echo(f"reset {', '.join(names)} of {_label(found)}")
    for line in _affected(sharing):
        click.echo(line)


def _named(session: Session, holder: str) -> Credential | Account:
    if holder.startswith(_KEYS):
        return session.credentials.get(holder, None)
    return session.accounts.named(holder)


def _reference(found: Credential | Account) -> dict[str, str]:
    if isinstance(found, Credential):
        return {"api_key": found.api_key}
    return {"account": found.id}


def _label(found: Credential | Account) -> str:
    return found.api_key if isinstance(found, Credential) else f"{found.name} ({found.id})"


def _only(name: str | None) -> list[str] | None:
    return None if name is None else [name]


def _sharing(session: Session, found: Credential | Account) -> LimitSharing:
    return session.limits.sharing(found) if isinstance(found, Credential) else LimitSharing()


def _affected(sharing: LimitSharing) -> list[str]:
    """A sentence about the keys that are affected too, if there are any."""
    if not sharing.total:
        return []
    keys = ", ".join(one.api_key for one in sharing.first)
    more = sharing.total - len(sharing.first)
    rest = f" and {counted(more, 'more key')}" if more > 0 else ""
    number = counted(sharing.total, "other key")
    verb = "shares" if sharing.total == 1 else "share"
    return [f"{number} {verb} these limits: {keys}{rest}."]
