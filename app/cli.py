"""The ``latchkey`` command: for a person at a terminal, and with ``--json`` for a script.

Exit status: 0 done, 1 it could not be done (one line on standard error says why), 2 wrong usage.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.api.schemas import CredentialObject, IssueBody, first_problem
from app.assembly import Latchkey
from app.config import MASK, Settings, load_settings, variable
from app.credentials.derivation import instance_key
from app.credentials.models import MODES, Credential, Mode
from app.credentials.service import IssuedCredential, utc_now
from app.credentials.tokens import MalformedToken, check_api_key, redact_secrets
from app.errors import CredentialNotFound, LatchkeyError
from app.first_start import make_derivation_key_file, make_first_credentials

_PAGE = 100
_WIDEST = 1000

_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_mode_option = click.option(
    "--mode", type=click.Choice(MODES), default="live", show_default=True, help="live or test."
)


class _Commands(click.Group):
    """Commands whose usage errors do not repeat a secret that was put in the wrong place."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _redacted_errors():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _redacted_errors():
            return super().invoke(ctx)


@contextmanager
def _redacted_errors() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        error.message = redact_secrets(error.message)  # type: ignore[misc]
        raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="latchkey")
def cli() -> None:
    """API keys for one box. Settings come from LATCHKEY_* variables; see: latchkey config."""


@cli.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen, instead of LATCHKEY_BIND.")
@click.option("--workers", metavar="N", help="Processes, instead of LATCHKEY_WORKERS.")
@click.option("--threads", metavar="N", help="Threads in each, instead of LATCHKEY_THREADS.")
def serve(bind: str | None, workers: str | None, threads: str | None) -> None:
    """Run the service in the foreground."""
    given = {"bind": bind, "workers": workers, "threads": threads}
    settings = load_settings(
        overrides={name: value for name, value in given.items() if value is not None}
    )
    from app.server import serve as run

    run(settings)


@cli.command()
def init() -> None:
    """Make what is missing: the database, the derivation key, a first credential in each mode.

    The secrets of new credentials are shown here, this once.
    """
    settings = load_settings()
    made = make_derivation_key_file(settings)
    if made is not None:
        click.echo(f"made the derivation key file {made}; keep it out of backups of the database")
    issued = make_first_credentials(settings)
    if not issued:
        click.echo(f"ready: {settings.database_url}")
        return
    click.echo("\nNew credentials. Their secrets are shown this once; keep them. Paste to try:\n")
    for one in issued:
        _print_try_out(settings, one)


@cli.group()
def keys() -> None:
    """Make, list, show and revoke credentials in the database."""


@keys.command("create")
@click.option("--name", required=True, help="What it is for, to find it again.")
@_mode_option
@click.option("--scope", "scopes", multiple=True, help="May be repeated; full access without.")
@click.option("--expires-at", metavar="TIME", help="As 2027-01-15T00:00:00Z; never without.")
@_json_option
def create_key(
    name: str, mode: Mode, scopes: tuple[str, ...], expires_at: str | None, as_json: bool
) -> None:
    """Make a new pair and print its secret, this once."""
    given: dict[str, object] = {"name": name, "mode": mode}
    if scopes:
        given["scopes"] = list(scopes)
    if expires_at is not None:
        given["expires_at"] = expires_at
    try:
        terms = IssueBody.model_validate(given).terms()
    except ValidationError as error:
        raise first_problem(error) from None
    with _opened(migrate=True) as latchkey:
        issued = latchkey.credentials.issue(caller=None, **terms)
        fields = _fields(latchkey, issued.credential)
    if as_json:
        _print_json({**fields, "api_secret": issued.secret})
        return
    _print_fields(fields)
    click.echo(f"\napi_secret  {issued.secret}\n\nThe secret is shown this once.")


@keys.command("list")
@click.option("--mode", type=click.Choice(MODES), help="Only live or only test.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, newest first.")
@_json_option
def list_keys(mode: Mode | None, limit: int | None, as_json: bool) -> None:
    """List credentials, newest first."""
    with _opened() as latchkey:
        rows = [_fields(latchkey, row) for row in _all_credentials(latchkey, mode, limit)]
    if as_json:
        _print_json({"credentials": rows})
        return
    _print_table(
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
@_json_option
def show_key(api_key: str, as_json: bool) -> None:
    """Show one credential."""
    with _opened() as latchkey:
        fields = _fields(latchkey, latchkey.credentials.get(_checked_key(api_key), None))
    if as_json:
        _print_json(fields)
    else:
        _print_fields(fields)


@keys.command("revoke")
@click.argument("api_key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def revoke_key(api_key: str, yes: bool, as_json: bool) -> None:
    """End a credential, for good."""
    with _opened() as latchkey:
        credential = latchkey.credentials.get(_checked_key(api_key), None)
        if not yes:
            label = credential.name or "without a name"
            click.confirm(
                f"Revoke {api_key} ({credential.mode}, {label})? This cannot be undone.",
                abort=True,
                err=True,
            )
        latchkey.credentials.revoke(api_key, None)
        seconds = latchkey.settings.cache_ttl
    if as_json:
        _print_json({"api_key": api_key, "revoked": True})
    else:
        click.echo(f"revoked {api_key}")
    click.echo(
        f"A running service may accept it from its cache for up to {seconds:g} seconds; "
        "revoke over HTTP, or restart it, to end that now.",
        err=True,
    )


@cli.group()
def console() -> None:
    """The vendor's side: derive pairs and instance keys. Nothing here touches the database."""


@console.command("generate")
@_mode_option
@_json_option
def generate_pair(mode: Mode, as_json: bool) -> None:
    """Derive a pair with the newest derivation key, and register it nowhere."""
    latchkey = Latchkey.from_settings()
    api_key, api_secret = latchkey.credentials.derive_pair(mode)
    pair = {"api_key": api_key, "api_secret": api_secret}
    if as_json:
        _print_json(pair)
    else:
        _print_fields(pair)


@console.command("instance-key")
@click.option("--name", required=True, help="The instance's name; the same name, the same key.")
@click.option(
    "--master-key-file",
    type=click.File("rb"),
    help="A file with the master key in hex, - for standard input; asked for without.",
)
@_json_option
def derive_instance_key(name: str, master_key_file: Any, as_json: bool) -> None:
    """Derive an instance's derivation key from the vendor's master key."""
    if master_key_file is not None:
        text = master_key_file.read().decode("ascii", "replace")
    else:
        text = click.prompt("Master key (hex)", hide_input=True, err=True)
    try:
        key = instance_key(bytes.fromhex(text.strip()), name).hex()
    except ValueError:
        raise click.ClickException("the master key must be at least 64 hex digits") from None
    if as_json:
        _print_json({"name": name, "derivation_key": key})
    else:
        click.echo(key)


@cli.command("config")
@_json_option
def show_config(as_json: bool) -> None:
    """Show every setting, its value, and where it came from. Secrets are masked."""
    settings = load_settings()
    rows = []
    for field, info in Settings.model_fields.items():
        value = getattr(settings, field)
        if hasattr(value, "get_secret_value"):
            value = MASK if value.get_secret_value() else ""
        source = "environment" if field in settings.model_fields_set else "default"
        rows.append({"name": variable(field), "value": str(value), "source": source})
        rows[-1]["help"] = (info.description or "").replace("`", "")
    if as_json:
        _print_json({"settings": rows})
        return
    _print_table(
        ["name", "value", "from"], [[row["name"], row["value"], row["source"]] for row in rows]
    )


def main() -> None:
    """The entry point: run the command, and turn our errors into one line and exit status 1."""
    try:
        cli()
    except LatchkeyError as error:
        click.echo(f"latchkey: {error}", err=True)
        sys.exit(1)


@contextmanager
def _opened(*, migrate: bool = False) -> Iterator[Latchkey]:
    """The parts over the configured database, closed at the end of the block.

    Commands that add to the database make it where it is missing; the others say so.
    """
    settings = load_settings()
    latchkey = Latchkey.from_settings(settings)
    if migrate:
        from app.store.migrate import migrate_in_child

        if migrate_in_child(settings.database_url).created:
            click.echo(f"made a new database, {settings.database_url}", err=True)
    try:
        yield latchkey
    finally:
        latchkey.store.close()


def _all_credentials(
    latchkey: Latchkey, mode: Mode | None, limit: int | None
) -> Iterator[Credential]:
    before, left = None, limit
    while left is None or left > 0:
        page = latchkey.credentials.page(mode, min(_PAGE, left or _PAGE), before)
        yield from page.credentials
        before = page.next_before
        if before is None:
            return
        left = None if left is None else left - len(page.credentials)


def _fields(latchkey: Latchkey, credential: Credential) -> dict[str, Any]:
    age = timedelta(days=latchkey.settings.rotation_days)
    return CredentialObject.of(credential, utc_now(), age).model_dump(mode="json")


def _checked_key(api_key: str) -> str:
    try:
        return check_api_key(api_key)
    except MalformedToken:
        raise CredentialNotFound("that is not a well-formed API key (ak_…)") from None


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _print_table(titles: list[str], rows: list[list[str]]) -> None:
    """A table that cuts nothing off: a shortened key cannot be copied."""
    table = Table(*titles, box=None, pad_edge=False, expand=False)
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=_WIDEST, highlight=False).print(table)


def _print_fields(fields: dict[str, Any]) -> None:
    width = max(map(len, fields))
    for name, value in fields.items():
        text = " ".join(value) if isinstance(value, list) else "" if value is None else value
        click.echo(f"{name:{width}}  {text}".rstrip())


def _print_try_out(settings: Settings, issued: IssuedCredential) -> None:
    """Lines to paste: the secret into a variable of the shell, then a call in each scheme."""
    # Not LATCHKEY_…: a variable of that form would be taken for a setting.
    secret = f"{issued.credential.mode.upper()}_API_SECRET"
    socket = settings.bind.removeprefix("unix:")
    if socket != settings.bind:
        origin = f"--unix-socket {shlex.quote(socket)} http://localhost"
    else:
        origin = f"http://{settings.bind}"
    click.echo(f"export {secret}={issued.secret}")
    click.echo(f'curl -H "Authorization: Bearer ${secret}" {origin}/v1/account')
    click.echo(
        f'curl -H "X-Api-Key: {issued.credential.api_key}" -H "X-Api-Secret: ${secret}" '
        f"{origin}/credentials\n"
    )
