"""The derivation keys that the settings list, and where their file may not lie.

Apart from the rest of what a worker is assembled from: the vendor's commands need no more.
"""

from __future__ import annotations

from app.config import Settings, derivation_keys, variable
from app.credentials.derivation import DerivationKey, DerivationKeys
from app.errors import ConfigurationError
from app.store.location import database_path


def load_derivation(settings: Settings) -> DerivationKeys:
    """The derivation keys that the settings list; raises ConfigurationError."""
    require_key_file_apart(settings)
    current, retired = derivation_keys(settings)
    return DerivationKeys(
        [DerivationKey(key) for key in current], [DerivationKey(key) for key in retired]
    )


def require_key_file_apart(settings: Settings) -> None:
    """Raise ConfigurationError where the derivation key file lies in the database's directory.

    Whoever copies that directory, as a backup does, would hold both.
    """
    if settings.derivation_keys.get_secret_value():
        return
    directory = database_path(settings.database_url).resolve().parent
    if settings.derivation_key_file.resolve().parent == directory:
        raise ConfigurationError(
            f"{variable('derivation_key_file')} is in the database's directory, so a backup of "
            "one would hold both: keep it in another directory"
        )
