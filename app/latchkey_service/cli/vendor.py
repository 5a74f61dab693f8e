"""``latchkey vendor``: key pairs and instance keys for instances that run elsewhere."""

from __future__ import annotations

from typing import Any

import click

from latchkey.credentials.derivation import instance_key
from latchkey.credentials.models import Mode
from latchkey.credentials.names import is_visible
from latchkey.credentials.tokens import new_api_key
from latchkey.key_files import load_derivation
from latchkey_service.cli.asking import ask_secret
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import TEXT, json_option, mode_option
from latchkey_service.cli.printing import print_fields, print_json


@click.group()
def vendor() -> None:
    """Derive pairs and keys for other instances. The database is not used."""


@vendor.command("generate")
@mode_option
@json_option
def generate_pair(mode: Mode, as_json: bool) -> None:
    """Derive a pair with the newest derivation key. It is not registered."""
    api_key = new_api_key(mode)
    api_secret = load_derivation(instance_settings()).newest.derive(api_key)
    pair = {"api_key": api_key, "api_secret": api_secret}
    if as_json:
        print_json(pair)
    else:
        print_fields(pair)


@vendor.command("instance-key")
@click.option(
    "--name",
    type=TEXT,
    required=True,
    help="The instance's name. The same name gives the same key.",
)
@click.option(
    "--master-key-file",
    type=click.File("rb"),
    help="The file of the master key in hex; - is standard input. The default is to ask.",
)
@json_option
def derive_instance_key(name: str, master_key_file: Any, as_json: bool) -> None:
    """Derive an instance's key from the master key."""
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
