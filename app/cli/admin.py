"""``latchkey admin``: who may sign in to the console. In effect at once, also in open sessions."""

from __future__ import annotations

import sys

import click

from app.administrators.models import Administrator
from app.administrators.service import acceptable_name
from app.api.schemas import format_time
from app.cli.options import json_option
from app.cli.printing import print_json, print_table
from app.cli.session import administering
from app.command_user import command_line_user
from app.errors import InvalidField

password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from the first line of standard input, instead of asking for it.",
)


@click.group()
def admin() -> None:
    """The administrators of the console: make, list, disable, enable, remove them."""


@admin.command("create")
@click.argument("name")
@password_option
def create_administrator(name: str, password_stdin: bool) -> None:
    """Make an administrator."""
    acceptable_name(name)
    password = _password(password_stdin)
    with administering(migrate=True) as administrators:
        made = administrators.create(name, password, command_line_user())
    click.echo(f"made the administrator {made.name}")


@admin.command("list")
@json_option
def list_administrators(as_json: bool) -> None:
    """List the administrators."""
    with administering() as administrators:
        every = administrators.all()
    rows = [_fields(one) for one in every]
    if as_json:
        print_json({"administrators": rows})
        return
    print_table(
        ["name", "status", "created", "signed in"],
        [[value or "never" for value in row.values()] for row in rows],
    )


@admin.command("password")
@click.argument("name")
@password_option
def set_password(name: str, password_stdin: bool) -> None:
    """Give an administrator another password, and end the sessions."""
    with administering() as administrators:
        _require(name, administrators.all())
        administrators.set_password(name, _password(password_stdin), command_line_user())
    click.echo(f"changed the password of {name}; every session is ended")


@admin.command("disable")
@click.argument("name")
def disable_administrator(name: str) -> None:
    """Keep an administrator from signing in, and end the sessions."""
    with administering() as administrators:
        administrators.disable(name, command_line_user())
    click.echo(f"disabled {name}")


@admin.command("enable")
@click.argument("name")
def enable_administrator(name: str) -> None:
    """Let a disabled administrator sign in again."""
    with administering() as administrators:
        administrators.enable(name, command_line_user())
    click.echo(f"enabled {name}")


@admin.command("remove")
@click.argument("name")
def remove_administrator(name: str) -> None:
    """Remove an administrator, whose sessions end."""
    with administering() as administrators:
        administrators.remove(name, command_line_user())
    click.echo(f"removed {name}")


def _password(from_standard_input: bool) -> str:
    if from_standard_input:
        return sys.stdin.readline().rstrip("\r\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _require(name: str, every: list[Administrator]) -> None:
    """Raise InvalidField before anybody has typed a password for a name that is not there."""
    if name.lower() not in {one.name for one in every}:
        raise InvalidField("name", "there is no such administrator")


def _fields(one: Administrator) -> dict[str, str | None]:
    return {
        "name": one.name,
        "status": "enabled" if one.is_enabled else "disabled",
        "created_at": format_time(one.created_at),
        "signed_in_at": None if one.signed_in_at is None else format_time(one.signed_in_at),
    }
