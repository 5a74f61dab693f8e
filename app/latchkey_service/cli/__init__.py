"""The ``latchkey`` command: for a person at a terminal, and with ``--json`` for a script.

Exit status: 0 done, 1 it could not be done (one line on standard error says why; nothing does where
the reader of a pipe has gone), 2 wrong usage.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from latchkey.binding import UnixAddress, parse_addresses
from latchkey.config import MASK, Settings, load_settings, variable
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import LatchkeyError
from latchkey_service.cli import streams
from latchkey_service.cli.options import TEXT, json_option
from latchkey_service.cli.printing import print_json, print_table, secret_shown

if TYPE_CHECKING:
    from latchkey.credentials.service import IssuedCredential


class _Commands(click.Group):
    """Commands whose usage errors do not repeat a secret that was put in the wrong place.

    A group within is loaded when it is asked for: each needs other libraries.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        groups = ("admin", "audit", "backup", "cache", "console", "keys", "restore")
        return sorted([*super().list_commands(ctx), *groups])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "admin":
            from latchkey_service.cli.admin import admin

            return admin
        if cmd_name == "audit":
            from latchkey_service.cli.audit import audit

            return audit
        if cmd_name in ("backup", "restore"):
            from latchkey_service.cli.backup import backup_command, restore_command

            return backup_command if cmd_name == "backup" else restore_command
        if cmd_name == "cache":
            from latchkey_service.cli.cache import cache

            return cache
        if cmd_name == "console":
            from latchkey_service.cli.vendor import console

            return console
        if cmd_name == "keys":
            from latchkey_service.cli.keys import keys

            return keys
        return super().get_command(ctx, cmd_name)

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
@click.option(
    "--bind", type=TEXT, metavar="HOST:PORT", help="Where to listen, instead of LATCHKEY_BIND."
)
@click.option("--workers", type=TEXT, metavar="N", help="Processes, instead of LATCHKEY_WORKERS.")
@click.option(
    "--threads", type=TEXT, metavar="N", help="Threads in each, instead of LATCHKEY_THREADS."
)
def serve(bind: str | None, workers: str | None, threads: str | None) -> None:
    """Run the service in the foreground."""
    given = {"bind": bind, "workers": workers, "threads": threads}
    settings = load_settings(
        overrides={name: value for name, value in given.items() if value is not None}
    )
    from latchkey_service.server.master import serve as run

    run(settings)


@cli.command()
def init() -> None:
    """Make what is missing: the database, the derivation key, a first credential in each mode.

    The secrets of new credentials are shown here, this once; and, where there is no administrator
    yet, a link that makes the first one.
    """
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
        click.echo(f"made the derivation key file {made}; keep it out of backups of the database")
    issued = make_first_credentials(settings)
    if issued:
        click.echo("\nNew credentials. Their secrets are shown this once; keep them.")
        click.echo("Paste to try:\n")
        for one in issued:
            with secret_shown(one):
                _print_try_out(settings, one)
    else:
        click.echo(f"ready: {settings.database_url}")
    link = offer_set_up(settings)
    if link is not None:
        note = describe_link(settings)
        click.echo(f"The console has no administrator. Within an hour, once:\n{link}")
        click.echo(f"({note})\n" if note else "")


@cli.command("config")
@json_option
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
        print_json({"settings": rows})
        return
    print_table(
        ["name", "value", "from"], [[row["name"], row["value"], row["source"]] for row in rows]
    )


def main() -> None:
    """The entry point: run the command, and turn every failure into one line and exit status 1."""
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
        # `latchkey_service.command` says what has to be installed.
        raise
    except Exception as error:
        if _is_debugging():
            raise
        status = _fail(
            f"unexpected fault: {type(error).__name__}: {error} "
            f"(with {variable('log_level')}=debug it says where)"
        )
    sys.exit(status)  # type: ignore[arg-type]


def _fail(reason: str | None) -> int:
    """Say why the command failed, where that can be said: the exit status."""
    streams.abandon_if_broken()
    if reason is not None:
        line = " ".join(redact_secrets(reason).split())
        with suppress(OSError):
            click.echo(f"latchkey: {line}", err=True)
    return 1


def _is_debugging() -> bool:
    return os.environ.get(variable("log_level")) == "debug"


def _print_try_out(settings: Settings, issued: IssuedCredential) -> None:
    """Lines to paste: the secret into a variable of the shell, then a call in each scheme."""
    # Not LATCHKEY_…: a variable of that form would be taken for a setting.
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
