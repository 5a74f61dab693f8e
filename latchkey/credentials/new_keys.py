"""New credentials from a derivation key, and the rule for their names."""

from __future__ import annotations

from datetime import datetime

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.models import NewCredential
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import hash_secret, mode_of, redact_secrets
from latchkey.errors import InvalidField


def new_credential(
    maker: DerivationKey,
    api_key: str,
    secret: str,
    name: str | None,
    scopes: frozenset[str],
    expires_at: datetime | None,
) -> NewCredential:
    """A credential of the instance account, created now."""
    return NewCredential(
        api_key=api_key,
        secret_hash=hash_secret(secret),
        derivation_id=maker.id,
        account_id=None,
        mode=mode_of(api_key),
        name=name,
        scopes=scopes,
        created_at=utc_now(),
        expires_at=expires_at,
    )


def require_no_secret(name: str | None) -> None:
    """Refuse a name that contains a secret: names are stored, listed and shown."""
    if name is not None and redact_secrets(name) != name:
        raise InvalidField("name", "contains what looks like an API secret")
