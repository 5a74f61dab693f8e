"""What the first start makes: database, key files, one credential a mode, a set-up link."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from app.administrators.service import Administrators
from app.command_user import command_line_user
from app.config import Settings
from app.credentials.models import MODES
from app.credentials.service import CredentialService, IssuedCredential
from app.derivation import load_derivation, require_key_file_apart
from app.key_files import load_seal, make_audit_key_file, make_key_file
from app.segment import changing_keys
from app.store import Store
from app.store.location import database_path
from app.store.migrate import database_lock, migrate_in_child


def make_derivation_key_file(settings: Settings) -> Path | None:
    """Make the file with one new key, mode 0600, durably; None where keys are there already.

    Raises ConfigurationError where it would lie beside the database or cannot be written.
    """
    path = settings.derivation_key_file.absolute()
    if settings.derivation_keys.get_secret_value() or path.exists():
        return None
    require_key_file_apart(settings)
    return make_key_file("derivation", path)


def make_first_credentials(settings: Settings) -> list[IssuedCredential]:
    """Migrate the database, and issue a full-access credential in each mode that has none."""
    derivation = load_derivation(settings)
    make_audit_key_file(settings, migrate_in_child(settings.database_url).audit_rows)
    store = Store(settings.database_url, seal=load_seal(settings))
    try:
        # Of two starts at once, the second finds what the first has made.
        with database_lock(database_path(settings.database_url)):
            missing = [mode for mode in MODES if store.count(mode) == 0]
            if not missing:
                return []
            with changing_keys(settings) as shared:
                service = CredentialService(store, derivation, shared.invalidate)
                return [
                    service.issue(
                        name=f"first {mode} key", mode=mode, caller=None, by=command_line_user()
                    )
                    for mode in missing
                ]
    finally:
        store.close()


def offer_set_up(settings: Settings) -> str | None:
    """A link that makes the console's first administrator, once, within the hour.

    None where there is one. The link before it is void; only a hash of either is stored. The
    database is there.
    """
    with closing(Store(settings.database_url)) as store:
        token = Administrators.over(store.administrators, settings).offer_set_up()
    return None if token is None else f"{_console_origin(settings)}/console/set-up?token={token}"


def _console_origin(settings: Settings) -> str:
    """Where a browser finds the console, by a host name that it answers to."""
    scheme = "https" if settings.console_tls == "on" else "http"
    host, _, port = settings.bind.rpartition(":")
    names = [name.strip() for name in settings.console_hosts.split(",")]
    if host == "unix" or host.startswith("unix:"):
        # Through a proxy, at its port.
        return f"{scheme}://{names[0]}"
    # Bound to every address, it is found by another name; a name may have a port of its own.
    name = host if host in names else names[0]
    return f"{scheme}://{name}" if re.search(r":\d+$", name) else f"{scheme}://{name}:{port}"
