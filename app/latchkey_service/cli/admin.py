"""``latchkey admin``: the administrators of the console.

Changes take effect immediately, also in open sessions.
"""

from __future__ import annotations

import click

from latchkey.credentials.administrators import Administrator
from latchkey.credentials.times import format_time
from latchkey.errors import InvalidField
from latchkey_service.administrators.service import Administrators, acceptable_name
from latchkey_service.cli.asking import ask_secret, confirm, first_line_of_input
from latchkey_service.cli.options import (
    NEVER,
    json_option,
    length_options,
    name_argument,
    rows_shown,
    yes_option,
)
from latchkey_service.cli.printing import print_json_list, print_rest, print_table
from latchkey_service.cli.session import administering, database_is_there
from latchkey_service.command_user import command_line_user

password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from the first line of standard input.",
)


@click.group()
def admin() -> None:
    """Manage the administrators of the console."""


@admin.command("create")
@name_argument
@password_option
def create_administrator(name: str, password_stdin: bool) -> None:
    """Create an administrator."""
    name = acceptable_name(name)
    if database_is_there():
        with administering(migrate=True) as administrators:
            if administrators.find(name) is not None:
                raise InvalidField("name", "is taken")
    password = _password(password_stdin)
    with administering(migrate=True) as administrators:
        made = administrators.create(name, password, command_line_user())
    click.echo(f"created the administrator {made.name}")


@admin.command("list")
@length_options
@json_option
def list_administrators(limit: int | None, every: bool, as_json: bool) -> None:
    """List the administrators by name.

    The first 50 are listed, or all with --all or --json.
    """
    shown = rows_shown(limit, every, as_json)
    with administering() as administrators:
        rows = (_fields(one) for one in administrators.by_name(shown))
        if as_json:
            print_json_list("administrators", rows)
            return
        cells = ([value or NEVER for value in row.values()] for row in rows)
        print_table(["name", "status", "created", "signed in"], cells)
        if shown is not None:
            print_rest(administrators.count() - shown, "administrator")


@admin.command("password")
@name_argument
@password_option
def set_password(name: str, password_stdin: bool) -> None:
    """Change a password and end all sessions."""
    with administering() as administrators:
        _require(administrators, name)
        administrators.set_password(name, _password(password_stdin), command_line_user())
    click.echo(f"changed the password of {name} and ended all of their sessions")


@admin.command("disable")
@name_argument
def disable_administrator(name: str) -> None:
    """Disable an administrator and end all sessions."""
    with administering() as administrators:
        administrators.disable(name, command_line_user())
    click.echo(f"disabled {name}")


@admin.command("enable")
@name_argument
def enable_administrator(name: str) -> None:
    """Allow a disabled administrator to sign in again."""
    with administering() as administrators:
        administrators.enable(name, command_line_user())
    click.echo(f"enabled {name}")


@admin.command("remove")
@name_argument
@yes_option
def remove_administrator(name: str, yes: bool) -> None:
    """Remove an administrator and end all sessions."""
    with administering() as administrators:
        _require(administrators, name)
        confirm(f"Remove the administrator {name}? This cannot be undone.", yes)
        administrators.remove(name, command_line_user())
    click.echo(f"removed {name}")


def _password(from_standard_input: bool) -> str:
    if from_standard_input:
        return first_line_of_input()
    return ask_secret("Password", "--password-stdin", twice=True)


def _require(administrators: Administrators, name: str) -> None:
    """Raise InvalidField for an unknown name, before any question is asked."""
    if administrators.find(name) is None:
        raise InvalidField("name", "there is no such administrator")


def _fields(one: Administrator) -> dict[str, str | None]:
    return {
        "name": one.name,
        "status": "enabled" if one.is_enabled else "disabled",
        "created_at": format_time(one.created_at),
        "signed_in_at": None if one.signed_in_at is None else format_time(one.signed_in_at),
    }
