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
    """Derive key pairs and instance keys for other instances.

    These commands do not use the database.
    """


@vendor.command("generate")
@mode_option
@json_option
def generate_pair(mode: Mode, as_json: bool) -> None:
    """Derive a key pair without registering it.

    The newest derivation key is used.
    """
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
    help="The name of the instance. The same name always gives the same key.",
)
@click.option(
    "--master-key-file",
    type=click.File("rb"),
    help="A file with the master key in hex; - is standard input. Without it, you are asked.",
)
@json_option
def derive_instance_key(name: str, master_key_file: Any, as_json: bool) -> None:
    """Derive the key of an instance.

    The result is the derivation key for that instance, computed from the master key and the name.
    """
    if not is_visible(name):
        raise click.BadParameter("must contain a visible character", param_hint="--name")
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
