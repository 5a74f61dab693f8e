"""The first start: creates the database, the key files, a key per mode and a set-up link."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from latchkey.binding import TcpAddress, parse_addresses, parse_origin
from latchkey.box.segment import changing_keys
from latchkey.box.several import publisher_for
from latchkey.config import Settings, variable
from latchkey.credentials.models import MODES
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService, IssuedCredential
from latchkey.key_files import (
    is_there,
    load_derivation,
    load_seal,
    make_key_file,
    require_key_file_apart,
)
from latchkey.preparing import prepare_instance
from latchkey.store.database_urls import database_of
from latchkey_service.administrators.service import Administrators
from latchkey_service.command_user import command_line_user
from latchkey_service.console.transport import AllowedHosts


def make_derivation_key_file(settings: Settings) -> Path | None:
    """Create the file with one new key, mode 0600, durably. Return None if there are keys already.

    Raises ConfigurationError if the file would be in the database's directory or cannot be written.
    """
    path = settings.derivation_keys_file.absolute()
    if settings.derivation_keys.get_secret_value() or is_there(path):
        return None
    require_key_file_apart(settings)
    return make_key_file("derivation", path, "derivation_keys_file")


def make_first_credentials(settings: Settings) -> list[IssuedCredential]:
    """Migrate the database, and create a full-access key in each mode that has none."""
    derivation = load_derivation(settings)
    database = database_of(settings)
    prepare_instance(settings)
    store = database.open_store(seal=load_seal(settings))
    try:
        # If two commands start at once, the second finds the keys that the first created.
        with database.preparing():
            missing = [mode for mode in MODES if store.count(mode) == 0]
            if not missing:
                return []
            with changing_keys(settings) as shared:
                publisher = publisher_for(store, shared)
                service = CredentialService(store, derivation, publisher)
                return [
                    service.issue(
                        name=f"first {mode} key", mode=mode, caller=None, by=command_line_user()
                    )
                    for mode in missing
                ]
    finally:
        store.close()


def offer_set_up(settings: Settings) -> str | None:
    """A link to create the first administrator of the console, valid once and for an hour.

    None if there is an administrator. A new link invalidates the previous one; only hashes of them
    are stored. The database must exist. The link begins with the public URL or, without one, with
    the address of the service, or is only a path if a browser cannot open that address.
    """
    with closing(database_of(settings).open_store()) as store:
        token = Administrators.over(
            store.administrators, Publisher(store.audit), settings
        ).offer_set_up()
    if token is None:
        return None
    scheme, host = parse_origin(settings.public_url)
    origin = f"{scheme}://{host}" if host else local_url(settings) or ""
    return f"{origin}/console/set-up?token={token}"


def local_url(settings: Settings) -> str | None:
    """The URL of the service on this machine; None unless it is HTTP at a known port."""
    addresses = parse_addresses(settings.bind)
    urls = [address.url for address in addresses if isinstance(address, TcpAddress)]
    return next((url for url in urls if url), None)


def describe_link(settings: Settings) -> str | None:
    """A note on the address in the set-up link; None if it is the public URL."""
    if settings.public_url:
        return None
    url = local_url(settings)
    public = variable("public_url")
    if url is None:
        return (
            f"{public} is not set, and the service listens on {settings.bind}: put the address of "
            "your proxy before this path."
        )
    note = f"{public} is not set: this is the address that the service listens on."
    hosts = AllowedHosts(settings.console_hosts)
    if settings.console_tls == "on" or not hosts.allow(url.removeprefix("http://")):
        note += (
            " Open the console through your proxy, with one of the host names in "
            f"{variable('console_hosts')}: {settings.console_hosts}."
        )
    return note
