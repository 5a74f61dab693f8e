"""The files of keys: the derivation keys, and the key and the head of the audit log.

They must not be in the database's directory, because a copy of it, such as a backup, would then
contain both.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from latchkey.config import DERIVATION_KEY_FILES, Settings, variable
from latchkey.credentials.audit import AuditKey
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.errors import ConfigurationError
from latchkey.files.private import read_private
from latchkey.files.shared_places import (
    create_durably,
    make_directory,
    real_path,
    require_regular,
)
from latchkey.store.audit_head import HeadFile, HeadUnusable, Seal
from latchkey.store.database_urls import database_of

_FILES = (*DERIVATION_KEY_FILES.values(), "audit_key_file", "audit_head_file")
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_MAX_KEYS = 4


def load_derivation(settings: Settings) -> DerivationKeys:
    """The derivation keys that the settings list; raises ConfigurationError."""
    require_key_file_apart(settings)
    current, retired = derivation_keys(settings)
    return DerivationKeys(
        [DerivationKey(key) for key in current], [DerivationKey(key) for key in retired]
    )


def require_key_file_apart(settings: Settings) -> None:
    """Raise ConfigurationError if a file of derivation keys is in the database's directory.

    A copy of that directory, such as a backup, would contain both.
    """
    for field in DERIVATION_KEY_FILES.values():
        if field in fields_of_files(settings):
            _require_apart(settings, field)


def derivation_keys(settings: Settings) -> tuple[list[bytes], list[bytes]]:
    """The current and the retired derivation keys, 32 bytes each, newest first.

    Raises ConfigurationError if there is no key, a key is malformed, or a file is not private.
    """
    current, retired = (_listed_keys(settings, field) for field in DERIVATION_KEY_FILES)
    if set(current) & set(retired):
        raise ConfigurationError(
            f"{_place_of(settings, 'derivation_keys_retired')}: a derivation key is listed that is "
            "also a current one; list each key once"
        )
    return current, retired


def audit_key(settings: Settings) -> bytes | None:
    """The 32-byte key of the audit log; None if the file does not exist.

    Raises ConfigurationError if the key is malformed or the file is not private.
    """
    path = settings.audit_key_file.absolute()
    what = f"the audit key file {path} ({variable('audit_key_file')})"
    try:
        lines = _private_lines(what, path)
    except FileNotFoundError:
        return None
    if len(lines) != 1 or not _HEX_KEY.fullmatch(lines[0]):
        raise ConfigurationError(f"{what} must contain one line of 64 hex digits")
    return bytes.fromhex(lines[0])


def fields_of_files(settings: Settings) -> list[str]:
    """The settings that name files in use: of the derivation keys, of the audit key and its head.

    A file of derivation keys is not in use if they are in the environment, or if it has no name.
    """
    unused = {
        file
        for secret, file in DERIVATION_KEY_FILES.items()
        if getattr(settings, secret).get_secret_value() or not getattr(settings, file)
    }
    return [field for field in _FILES if field not in unused]


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
            "directory; to create a new instance, run: latchkey init"
        )
    made = AuditKey(key)
    return Seal(made, HeadFile(head, made))


def make_audit_key_file(settings: Settings, rows: int) -> Path | None:
    """Create the key of the audit log, and the head of an empty log; None if there is a key.

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
        made = make_key_file("audit", path, "audit_key_file")
    if rows == 0:
        try:
            load_seal(settings).head.make()
        except HeadUnusable as error:
            raise ConfigurationError(str(error)) from None
    return made


def make_next_audit_key_file(settings: Settings) -> Path:
    """Create a new key for a log whose key is lost; raises ConfigurationError if there is one."""
    _require_apart(settings, "audit_key_file")
    path = settings.audit_key_file.absolute()
    if make_key_file("audit", path, "audit_key_file") is None:
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


def make_key_file(what: str, path: Path, field: str) -> Path | None:
    """Create a file with one new key, mode 0600, durably; None if the file exists.

    ``field`` is the setting that names the file. Raises ConfigurationError.
    """
    try:
        make_directory(path.parent)
        made = create_durably(path, f"{secrets.token_hex(32)}\n".encode())
    except OSError as error:
        raise ConfigurationError(
            f"cannot create the {what} key file {path} ({variable(field)}): {error.strerror}"
        ) from None
    return path if made else None


def _require_apart(settings: Settings, field: str) -> None:
    directory = database_of(settings).directory
    path = real_path(Path(getattr(settings, field)))
    if path.parent == directory:
        raise ConfigurationError(
            f"{variable(field)} is in the database's directory, so a backup of one would hold "
            "both: keep it in another directory"
        )
    fields = fields_of_files(settings)
    for other in fields[: fields.index(field)]:
        if path == real_path(Path(getattr(settings, other))):
            raise ConfigurationError(
                f"{variable(other)} and {variable(field)} name the same file, {path}: use two"
            )


def _listed_keys(settings: Settings, field: str) -> list[bytes]:
    """The derivation keys of a setting, or of the file that takes its place."""
    inline = getattr(settings, field).get_secret_value()
    if inline:
        return _parse_keys(variable(field), inline.split(","))
    if not getattr(settings, DERIVATION_KEY_FILES[field]):
        return []
    what = _place_of(settings, field)
    path = Path(getattr(settings, DERIVATION_KEY_FILES[field])).absolute()
    try:
        return _parse_keys(what, _private_lines(what, path))
    except FileNotFoundError:
        if field == "derivation_keys":
            raise ConfigurationError(
                f"there is no derivation key: set {variable('derivation_keys')}, or "
                f"{variable('derivation_keys_file')}, which names {path}, or change to the "
                "instance's directory; to create a new instance, run: latchkey init"
            ) from None
        raise ConfigurationError(f"{what}: there is no such file") from None


def _place_of(settings: Settings, field: str) -> str:
    """Where derivation keys are read from, for a message: the variable, or the file."""
    file = DERIVATION_KEY_FILES[field]
    if getattr(settings, field).get_secret_value() or not getattr(settings, file):
        return variable(field)
    kind = "derivation key file" if field == "derivation_keys" else "file of retired keys"
    return f"the {kind} {Path(getattr(settings, file)).absolute()} ({variable(file)})"


def _parse_keys(source: str, keys: list[str]) -> list[bytes]:
    if not 1 <= len(keys) <= _MAX_KEYS:
        raise ConfigurationError(f"{source}: 1 to {_MAX_KEYS} keys are allowed, not {len(keys)}")
    if not all(_HEX_KEY.fullmatch(key.strip()) for key in keys):
        raise ConfigurationError(f"{source}: a derivation key must have 64 hex digits")
    parsed = [bytes.fromhex(key.strip()) for key in keys]
    if len(set(parsed)) < len(parsed):
        raise ConfigurationError(f"{source}: a derivation key is listed twice; list each key once")
    return parsed


def _private_lines(what: str, path: Path) -> list[str]:
    """The lines of a key file without empty lines and comments; raises FileNotFoundError."""
    lines = [line.strip() for line in read_private(what, path).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
