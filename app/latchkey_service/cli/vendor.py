"""``latchkey console``: the vendor's side, which touches no database."""

from __future__ import annotations

from typing import Any

import click

from latchkey.config import load_settings
from latchkey.credentials.derivation import instance_key
from latchkey.credentials.models import Mode
from latchkey.credentials.names import is_visible
from latchkey.credentials.tokens import new_api_key
from latchkey.key_files import load_derivation
from latchkey_service.cli.asking import ask_secret
from latchkey_service.cli.options import TEXT, json_option, mode_option
from latchkey_service.cli.printing import print_fields, print_json


@click.group()
def console() -> None:
    """The vendor's side: derive pairs and instance keys. Nothing here touches the database."""


@console.command("generate")
@mode_option
@json_option
def generate_pair(mode: Mode, as_json: bool) -> None:
    """Derive a pair with the newest derivation key, and register it nowhere."""
    api_key = new_api_key(mode)
    api_secret = load_derivation(load_settings()).newest.derive(api_key)
    pair = {"api_key": api_key, "api_secret": api_secret}
    if as_json:
        print_json(pair)
    else:
        print_fields(pair)


@console.command("instance-key")
@click.option(
    "--name", type=TEXT, required=True, help="The instance's name; the same name, the same key."
)
@click.option(
    "--master-key-file",
    type=click.File("rb"),
    help="A file with the master key in hex, - for standard input; asked for without.",
)
@json_option
def derive_instance_key(name: str, master_key_file: Any, as_json: bool) -> None:
    """Derive an instance's derivation key from the vendor's master key."""
    if not is_visible(name):
        raise click.BadParameter("must have a visible character", param_hint="--name")
    if master_key_file is not None:
        text = master_key_file.read().decode("ascii", "replace")
    else:
        text = ask_secret("Master key (hex)", "--master-key-file")
    try:
        key = instance_key(bytes.fromhex(text.strip()), name).hex()
    except ValueError:
        raise click.ClickException("the master key must be at least 64 hex digits") from None
    if as_json:
        print_json({"name": name, "derivation_key": key})
    else:
        click.echo(key)
