"""``latchkey keys``: making, listing, showing, changing, rotating and revoking credentials.

A command that changes keys is in effect in every worker of a running service when it returns, or
it changes nothing and says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError

from app.api.problems import first_problem
from app.api.schemas import (
    ChangeBody,
    CredentialObject,
    IssueBody,
    UsageObject,
)
from app.cli.exporting import export_command
from app.cli.importing import import_command
from app.cli.options import json_option, mode_option
from app.cli.printing import print_fields, print_json, print_table
from app.cli.session import Session, changing, reading
from app.command_user import command_line_user
from app.credentials.listing import AsOf, Order, Selection
from app.credentials.models import MODES, Credential, Mode
from app.credentials.service import (
    DEFAULT_OVERLAP,
    LONGEST_OVERLAP,
    IssuedCredential,
    utc_now,
)
from app.credentials.tokens import MalformedToken, check_api_key
from app.errors import CredentialNotFound

Body = TypeVar("Body", bound=BaseModel)

_PAGE = 100
_NEVER = "never"


@click.group()
def keys() -> None:
    """Make, list, show, change, rotate, revoke and import credentials in the database."""


keys.add_command(import_command)
keys.add_command(export_command)


@keys.command("create")
@click.option("--name", required=True, help="What it is for, to find it again.")
@mode_option
@click.option("--scope", "scopes", multiple=True, help="May be repeated; full access without.")
@click.option("--expires-at", metavar="TIME", help="As 2027-01-15T00:00:00Z; never without.")
@json_option
def create_key(
    name: str, mode: Mode, scopes: tuple[str, ...], expires_at: str | None, as_json: bool
) -> None:
    """Make a new pair and print its secret, this once."""
    given: dict[str, object] = {"name": name, "mode": mode}
    if scopes:
        given["scopes"] = list(scopes)
    if expires_at is not None:
        given["expires_at"] = expires_at
    terms = _validated(IssueBody, given).terms()
    with changing(migrate=True) as session:
        issued = session.credentials.issue(caller=None, by=command_line_user(), **terms)
        fields = _fields(session, issued.credential)
    _print_issued(issued, fields, as_json)


@keys.command("list")
@click.option("--mode", type=click.Choice(MODES), help="Only live or only test.")
@click.option("--due", is_flag=True, help="Only active ones past their rotation age.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, newest first.")
@json_option
def list_keys(mode: Mode | None, due: bool, limit: int | None, as_json: bool) -> None:
    """List credentials, newest first. One that was rotated is no longer due."""
    with reading() as session:
        found = _due(session, mode, limit) if due else _all_credentials(session, mode, limit)
        rows = [_fields(session, row) for row in found]
    if as_json:
        print_json({"credentials": rows})
        return
    print_table(
        ["key", "name", "mode", "scopes", "status", "made", "expires"],
        [
            [
                row["api_key"],
                row["name"] or "",
                row["mode"],
                " ".join(row["scopes"]),
                row["status"],
                row["created_at"],
                row["expires_at"] or "never",
            ]
            for row in rows
        ],
    )


@keys.command("show")
@click.argument("api_key")
@json_option
def show_key(api_key: str, as_json: bool) -> None:
    """Show one credential."""
    with reading() as session:
        fields = _fields(session, session.credentials.get(_checked_key(api_key), None))
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@keys.command("usage")
@click.argument("api_key")
@json_option
def show_usage(api_key: str, as_json: bool) -> None:
    """Show how much a credential is used, up to the last request."""
    with reading() as session:
        credential = session.credentials.get(_checked_key(api_key), None)
        usage = UsageObject.of(api_key, session.usage.usage(credential), utc_now())
    fields = usage.model_dump(mode="json")
    if as_json:
        print_json(fields)
        return
    refused = (f"{reason} {count}" for reason, count in fields["refusals"].items() if count)
    print_fields(
        {
            "api_key": api_key,
            "requests": str(fields["requests"]),
            "last_used_at": fields["last_used_at"] or _NEVER,
            "refused": ", ".join(refused) or _NEVER,
        }
    )
    if fields["days"]:
        click.echo()
        print_table(
            ["day", "requests"],
            [[day["start"][:10], str(day["requests"])] for day in reversed(fields["days"])],
        )


@keys.command("change")
@click.argument("api_key")
@click.option("--name", help="Another name.")
@click.option("--scope", "scopes", multiple=True, help="May be repeated; these in place of all.")
@click.option("--expires-at", metavar="TIME", help="As 2027-01-15T00:00:00Z, or never.")
@json_option
def change_key(
    api_key: str, name: str | None, scopes: tuple[str, ...], expires_at: str | None, as_json: bool
) -> None:
    """Give a credential another name, other scopes or another end."""
    given: dict[str, object] = {}
    if name is not None:
        given["name"] = name
    if scopes:
        given["scopes"] = list(scopes)
    if expires_at is not None:
        given["expires_at"] = None if expires_at == _NEVER else expires_at
    if not given:
        raise click.UsageError("Nothing to change: give --name, --scope or --expires-at.")
    terms = _validated(ChangeBody, given).change()
    with changing() as session:
        changed = session.credentials.change(
            _checked_key(api_key), terms, None, by=command_line_user()
        )
        fields = _fields(session, changed)
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@keys.command("rotate")
@click.argument("api_key")
@click.option(
    "--overlap",
    metavar="SECONDS",
    type=click.IntRange(0, round(LONGEST_OVERLAP.total_seconds())),
    default=round(DEFAULT_OVERLAP.total_seconds()),
    show_default=True,
    help="For how long the old key goes on working.",
)
@json_option
def rotate_key(api_key: str, overlap: int, as_json: bool) -> None:
    """Replace a credential by a successor, and print its secret, this once."""
    with changing() as session:
        issued = session.credentials.rotate(
            _checked_key(api_key), None, timedelta(seconds=overlap), by=command_line_user()
        )
        fields = _fields(session, issued.credential)
    _print_issued(issued, fields, as_json)


@keys.command("revoke")
@click.argument("api_key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def revoke_key(api_key: str, yes: bool, as_json: bool) -> None:
    """End a credential, for good."""
    if not yes:
        with reading() as session:
            credential = session.credentials.get(_checked_key(api_key), None)
        label = credential.name or "without a name"
        click.confirm(
            f"Revoke {api_key} ({credential.mode}, {label})? This cannot be undone.",
            abort=True,
            err=True,
        )
    with changing() as session:
        session.credentials.revoke(_checked_key(api_key), None, by=command_line_user())
    if as_json:
        print_json({"api_key": api_key, "revoked": True})
    else:
        click.echo(f"revoked {api_key}")


def _validated(body: type[Body], given: dict[str, object]) -> Body:
    """What was given, checked as the HTTP API checks it."""
    try:
        return body.model_validate(given)
    except ValidationError as error:
        raise first_problem(error, body) from None


def _all_credentials(
    session: Session, mode: Mode | None, limit: int | None
) -> Iterator[Credential]:
    before, left = None, limit
    while left is None or left > 0:
        page = session.credentials.page(mode, min(_PAGE, left or _PAGE), before)
        yield from page.credentials
        before = page.next_before
        if before is None:
            return
        left = None if left is None else left - len(page.credentials)


def _due(session: Session, mode: Mode | None, limit: int | None) -> list[Credential]:
    as_of = AsOf(utc_now(), timedelta(days=session.settings.rotation_days))
    selection = Selection(mode=mode, concern="due")
    count = session.listing.count(selection, as_of) if limit is None else limit
    return session.listing.page(selection, Order(), as_of, limit=count)


def _fields(session: Session, credential: Credential) -> dict[str, Any]:
    age = timedelta(days=session.settings.rotation_days)
    last_used_at = session.usage.last_used_at(credential)
    return CredentialObject.of(credential, last_used_at, utc_now(), age).model_dump(mode="json")


def _print_issued(issued: IssuedCredential, fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({**fields, "api_secret": issued.secret})
        return
    print_fields(fields)
    click.echo(f"\napi_secret  {issued.secret}\n\nThe secret is shown this once.")


def _checked_key(api_key: str) -> str:
    try:
        return check_api_key(api_key)
    except MalformedToken:
        raise CredentialNotFound("that is not a well-formed API key (ak_…)") from None
