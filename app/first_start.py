"""What the first start makes: the database, the derivation key file, one credential a mode."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from app.config import Settings
from app.credentials.models import MODES
from app.credentials.service import CredentialService, IssuedCredential
from app.derivation import load_derivation, require_key_file_apart
from app.errors import ConfigurationError
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
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: it never replaces a key that another start has just made.
        os.link(temporary, path)
        _sync_directory(path.parent)
    except FileExistsError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the derivation key file {path}: {error.strerror}"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def make_first_credentials(settings: Settings) -> list[IssuedCredential]:
    """Migrate the database, and issue a full-access credential in each mode that has none."""
    derivation = load_derivation(settings)
    migrate_in_child(settings.database_url)
    store = Store(settings.database_url)
    try:
        # Of two starts at once, the second finds what the first has made.
        with database_lock(database_path(settings.database_url)):
            missing = [mode for mode in MODES if store.count(mode) == 0]
            if not missing:
                return []
            with changing_keys(settings) as shared:
                service = CredentialService(store, derivation, shared.invalidate)
                return [
                    service.issue(name=f"first {mode} key", mode=mode, caller=None)
                    for mode in missing
                ]
    finally:
        store.close()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
