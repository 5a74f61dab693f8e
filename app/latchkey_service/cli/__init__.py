"""The ``latchkey`` command, for people at a terminal and, with ``--json``, for scripts.

The exit status is 0 for success, 1 for a failure and 2 for incorrect usage. One line on standard
error explains a failure, unless the reader of the pipe has closed it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from latchkey.binding import UnixAddress, parse_addresses
from latchkey.config import MASK, Settings, load_settings, variable
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import LatchkeyError
from latchkey.shown_urls import without_password
from latchkey_service.cli import streams
from latchkey_service.cli.options import TEXT, json_option
from latchkey_service.cli.printing import print_json, print_table, secret_shown

if TYPE_CHECKING:
    from latchkey.credentials.service import IssuedCredential


# Where other commands are defined. Each needs more libraries, so it is loaded only when it is used.
_ELSEWHERE = {
    "accounts": ("latchkey_service.cli.accounts", "accounts"),
    "admin": ("latchkey_service.cli.admin", "admin"),
    "apply": ("latchkey_service.cli.apply", "apply_command"),
    "audit": ("latchkey_service.cli.audit", "audit"),
    "backup": ("latchkey_service.cli.backup", "backup_command"),
    "boxes": ("latchkey_service.cli.boxes", "boxes_command"),
    "cache": ("latchkey_service.cli.cache", "cache"),
    "keys": ("latchkey_service.cli.keys", "keys"),
    "limits": ("latchkey_service.cli.limits", "limits"),
    "migrate-database": ("latchkey_service.cli.moving", "migrate_database_command"),
    "reconcile": ("latchkey_service.cli.reconcile", "reconcile_command"),
    "restore": ("latchkey_service.cli.restore", "restore_command"),
    "vendor": ("latchkey_service.cli.vendor", "vendor"),
    "verify": ("latchkey_service.cli.verify", "verify"),
}
# Former names. They still work, but the help does not list them.
_FORMER = {"console": "vendor"}


class _Commands(click.Group):
    """Commands whose usage errors never repeat a secret that was typed in the wrong place."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        defined = _ELSEWHERE.get(_FORMER.get(cmd_name, cmd_name))
        if defined is None:
            return super().get_command(ctx, cmd_name)
        module, name = defined
        command: click.Command = getattr(import_module(module), name)
        return command

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
@click.version_option(package_name="latchkey-auth", prog_name="latchkey")
def cli() -> None:
    """Create, check and revoke API keys.

    Settings are environment variables named LATCHKEY_*. To list them, run: latchkey config
    """


@cli.command()
@click.option(
    "--bind", type=TEXT, metavar="HOST:PORT", help="Where to listen. Overrides LATCHKEY_BIND."
)
@click.option(
    "--workers", type=TEXT, metavar="N", help="Worker processes. Overrides LATCHKEY_WORKERS."
)
@click.option(
    "--threads", type=TEXT, metavar="N", help="Threads per worker. Overrides LATCHKEY_THREADS."
)
def serve(bind: str | None, workers: str | None, threads: str | None) -> None:
    """Run the service in the foreground."""
    from latchkey_service.server.early_signals import hold_signals

    with hold_signals():
        given = {"bind": bind, "workers": workers, "threads": threads}
        settings = load_settings(
            overrides={name: value for name, value in given.items() if value is not None}
        )
        from latchkey_service.server.master import serve as run

        run(settings)


@cli.command()
def init() -> None:
    """Set up an instance.

    Creates the database, the derivation key and a first key in each mode, unless they exist. The
    secrets of the new keys are shown only once. If the console has no administrator, also prints a
    link for creating the first one.
    """
    from latchkey.store.database_urls import database_of
    from latchkey_service.cli.instance import instance_settings
    from latchkey_service.first_start import (
        describe_link,
        make_derivation_key_file,
        make_first_credentials,
        offer_set_up,
    )

    settings = instance_settings()
    made = make_derivation_key_file(settings)
    if made is not None:
        click.echo(f"created the derivation key file {made}; keep it out of database backups")
    issued = make_first_credentials(settings)
    if issued:
        click.echo("\nCreated the first keys. Their secrets are shown only once: store them now.")
        click.echo("To try the keys, paste these lines when the service runs:\n")
        for one in issued:
            with secret_shown(one):
                _print_try_out(settings, one)
    else:
        click.echo(f"ready: {database_of(settings).shown}")
    link = offer_set_up(settings)
    if link is not None:
        note = describe_link(settings)
        click.echo(
            "The console has no administrator. To create one, open this link within an hour; it "
            f"works once:\n{link}"
        )
        click.echo(f"({note})\n" if note else "")


@cli.command("config")
@json_option
def show_config(as_json: bool) -> None:
    """Show every setting, its value and its source. Secrets are masked."""
    settings = load_settings()
    rows = []
    for field, info in Settings.model_fields.items():
        value = getattr(settings, field)
        if hasattr(value, "get_secret_value"):
            value = MASK if value.get_secret_value() else ""
        if field == "database_url":
            value = without_password(value)
        source = "environment" if field in settings.model_fields_set else "default"
        rows.append({"name": variable(field), "value": str(value), "source": source})
        rows[-1]["help"] = (info.description or "").replace("`", "")
    if as_json:
        print_json({"settings": rows})
        return
    print_table(
        ["name", "value", "source"], [[row["name"], row["value"], row["source"]] for row in rows]
    )


def main() -> None:
    """Run the command. Every failure becomes one line and exit status 1."""
    streams.prepare()
    status: object = 0
    try:
        try:
            cli()
        except SystemExit as ended:
            status = ended.code
        streams.finish()
    except LatchkeyError as error:
        status = _fail(str(error))
    except KeyboardInterrupt:
        status = _fail("interrupted")
    except OSError as error:
        status = _fail(streams.reason_of(error))
    except ModuleNotFoundError:
        # `latchkey_service.command` explains what to install.
        raise
    except Exception as error:
        if _is_debugging():
            raise
        status = _fail(
            f"unexpected error: {type(error).__name__}: {error} "
            f"(set {variable('log_level')}=debug for a traceback)"
        )
    sys.exit(status)  # type: ignore[arg-type]


def _fail(reason: str | None) -> int:
    """Print the reason of a failure, if standard error is writable; return the exit status."""
    streams.abandon_if_broken()
    if reason is not None:
        line = " ".join(redact_secrets(reason).split())
        with suppress(OSError):
            click.echo(f"latchkey: {line}", err=True)
    return 1


def _is_debugging() -> bool:
    return os.environ.get(variable("log_level")) == "debug"


def _print_try_out(settings: Settings, issued: IssuedCredential) -> None:
    """Print lines to paste: the secret as a shell variable, then one request in each scheme."""
    # Not LATCHKEY_…: such variables are settings.
    secret = f"{issued.credential.mode.upper()}_API_SECRET"
    from latchkey_service.first_start import local_url

    address = parse_addresses(settings.bind)[0]
    if isinstance(address, UnixAddress):
        origin = f"--unix-socket {shlex.quote(address.path)} http://localhost"
    else:
        origin = local_url(settings) or settings.public_url.rstrip("/") or "http://HOST:PORT"
    click.echo(f"export {secret}={issued.secret}")
    click.echo(f'curl -H "Authorization: Bearer ${secret}" {origin}/v1/account')
    click.echo(
        f'curl -H "X-Api-Key: {issued.credential.api_key}" -H "X-Api-Secret: ${secret}" '
        f"{origin}/credentials\n"
    )
