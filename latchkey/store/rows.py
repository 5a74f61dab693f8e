"""Conversion between rows and the domain's models: times, scopes, credentials."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from latchkey.credentials.conditions import conditions_of_text, conditions_text
from latchkey.credentials.models import Credential, NewCredential
from latchkey.credentials.times import (
    from_milliseconds,
    from_milliseconds_or_none,
    to_milliseconds,
    to_milliseconds_or_none,
)

_HASH_LENGTH = 32


def credential_of(row: Row[Any]) -> Credential:
    """The credential that a row of the table holds.

    Raises ValueError, TypeError or AttributeError if the row is not valid.
    """
    return Credential(
        id=row.id,
        api_key=row.api_key,
        secret_hash=checked_hash(row.id, row.secret_hash),
        derivation_id=row.derivation_id,
        account_id=row.account_id,
        mode=row.mode,
        name=row.name,
        scopes=frozenset(row.scopes.split()),
        created_at=from_milliseconds(row.created_at),
        expires_at=from_milliseconds_or_none(row.expires_at),
        revoked_at=from_milliseconds_or_none(row.revoked_at),
        rotated_to=row.rotated_to,
        original_expires_at=from_milliseconds_or_none(row.original_expires_at),
        last_used_at=from_milliseconds_or_none(row.last_used_at),
        first_used_at=from_milliseconds_or_none(row.first_used_at),
        origin=row.origin,
        conditions=conditions_of_text(row.conditions),
        metadata=row.metadata,
    )


def values_of(new: NewCredential) -> dict[str, Any]:
    """The columns of a row for a new credential."""
    return {
        "api_key": new.api_key,
        "secret_hash": new.secret_hash,
        "derivation_id": new.derivation_id,
        "account_id": new.account_id,
        "mode": new.mode,
        "name": new.name,
        "scopes": scopes_text(new.scopes),
        "created_at": to_milliseconds(new.created_at),
        "expires_at": to_milliseconds_or_none(new.expires_at),
        "origin": new.origin,
        "conditions": conditions_text(new.conditions),
        "metadata": new.metadata,
    }


def checked_hash(number: int, secret_hash: object) -> bytes:
    """The hash of a row, which may have been altered; raises ValueError if it is not a hash."""
    if not isinstance(secret_hash, bytes) or len(secret_hash) != _HASH_LENGTH:
        raise ValueError(f"credential {number} has an invalid hash")
    return secret_hash


def scopes_text(scopes: frozenset[str]) -> str:
    """Scopes as the text of their column."""
    return " ".join(sorted(scopes))
