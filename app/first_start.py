"""What the first start makes: the database, the key files, one credential a mode."""

from __future__ import annotations

from pathlib import Path

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
