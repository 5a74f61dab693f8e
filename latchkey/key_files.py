"""The files of keys: the derivation keys, and the key and the head of the audit log.

They must not be in the database's directory, because a copy of it, such as a backup, would then
contain both.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from latchkey.config import Settings, audit_key, derivation_keys, variable
from latchkey.credentials.audit import AuditKey
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import (
    create_durably,
    make_directory,
    real_path,
    require_regular,
)
from latchkey.store.audit_head import HeadFile, HeadUnusable, Seal
from latchkey.store.database_urls import database_at

_FILES = ("derivation_key_file", "audit_key_file", "audit_head_file")


def load_derivation(settings: Settings) -> DerivationKeys:
    """The derivation keys that the settings list; raises ConfigurationError."""
    require_key_file_apart(settings)
    current, retired = derivation_keys(settings)
    return DerivationKeys(
        [DerivationKey(key) for key in current], [DerivationKey(key) for key in retired]
    )


def require_key_file_apart(settings: Settings) -> None:
    """Raise ConfigurationError if the derivation key file is in the database's directory.

    A copy of that directory, such as a backup, would contain both.
    """
    if settings.derivation_keys.get_secret_value():
        return
    _require_apart(settings, "derivation_key_file")


def load_seal(settings: Settings) -> Seal:
    """The seal of the audit log; raises ConfigurationError if there is no key."""
    for field in ("audit_key_file", "audit_head_file"):
        _require_apart(settings, field)
    head = settings.audit_head_file.absolute()
    try:
        require_regular(head)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigurationError(
            f"the audit head file {head} ({variable('audit_head_file')}): {error.strerror}"
        ) from None
    key = audit_key(settings)
    if key is None:
        raise ConfigurationError(
            f"there is no key for the audit log: {variable('audit_key_file')} names "
            f"{settings.audit_key_file.absolute()}; correct that, or change to the instance's "
            "directory; a new instance is made with: latchkey init"
        )
    made = AuditKey(key)
    return Seal(made, HeadFile(head, made))


def make_audit_key_file(settings: Settings, rows: int) -> Path | None:
    """Make the key of the audit log, and the head of an empty log; None if there is a key.

    ``rows`` is the number of rows in the log. Raises ConfigurationError if there are rows but no
    key, or if a file cannot be created.
    """
    path = settings.audit_key_file.absolute()
    made = None
    if not is_there(path):
        if rows:
            raise ConfigurationError(
                "the key with which the audit log was written is missing: put it back at "
                f"{path} ({variable('audit_key_file')}), or, if it is lost permanently, begin a "
                "new chain: latchkey audit restart"
            )
        _require_apart(settings, "audit_key_file")
        made = make_key_file("audit", path)
    if rows == 0:
        try:
            load_seal(settings).head.make()
        except HeadUnusable as error:
            raise ConfigurationError(str(error)) from None
    return made


def make_next_audit_key_file(settings: Settings) -> Path:
    """Make a new key for a log whose key is lost; raises ConfigurationError if there is a key."""
    _require_apart(settings, "audit_key_file")
    path = settings.audit_key_file.absolute()
    if make_key_file("audit", path) is None:
        raise ConfigurationError(
            f"nothing was changed: a key exists, {path}; if the log was written with another key, "
            "which is lost permanently, move this one away first"
        )
    return path


def is_there(path: Path) -> bool:
    """Whether a file exists; permission errors are reported when it is opened."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def make_key_file(what: str, path: Path) -> Path | None:
    """Make a file with one new key, mode 0600, durably; None if the file exists."""
    try:
        make_directory(path.parent)
        made = create_durably(path, f"{secrets.token_hex(32)}\n".encode())
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the {what} key file {path} ({variable(f'{what}_key_file')}): "
            f"{error.strerror}"
        ) from None
    return path if made else None


def _require_apart(settings: Settings, field: str) -> None:
    directory = database_at(settings.database_url).directory
    path = real_path(getattr(settings, field))
    if path.parent == directory:
        raise ConfigurationError(
            f"{variable(field)} is in the database's directory, so a backup of one would hold "
            "both: keep it in another directory"
        )
    for other in _files_before(settings, field):
        if path == real_path(getattr(settings, other)):
            raise ConfigurationError(
                f"{variable(other)} and {variable(field)} name the same file, {path}: use two"
            )


def _files_before(settings: Settings, field: str) -> list[str]:
    """The settings before this one that name files in use."""
    unused = ["derivation_key_file"] if settings.derivation_keys.get_secret_value() else []
    return [one for one in _FILES[: _FILES.index(field)] if one not in unused]
