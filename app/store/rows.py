"""Rows and the domain's models, each as the other: times, scopes, credentials."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Row

from app.credentials.models import Credential, Mode, NewCredential

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH_LENGTH = 32
_MILLISECOND = timedelta(milliseconds=1)


def credential_of(row: Row[tuple[object, ...]]) -> Credential:
    """The credential that a whole row holds; raises ValueError where it cannot be one."""
    fields = row._mapping
    if len(fields["secret_hash"]) != _HASH_LENGTH:
        raise ValueError(f"credential {fields['id']} has a hash of a wrong length")
    return Credential(
        id=fields["id"],
        api_key=fields["api_key"],
        secret_hash=fields["secret_hash"],
        derivation_id=fields["derivation_id"],
        account_id=fields["account_id"],
        mode=cast(Mode, fields["mode"]),
        name=fields["name"],
        scopes=frozenset(fields["scopes"].split()),
        created_at=from_milliseconds(fields["created_at"]),
        expires_at=from_milliseconds_or_none(fields["expires_at"]),
        revoked_at=from_milliseconds_or_none(fields["revoked_at"]),
        rotated_to=fields["rotated_to"],
        original_expires_at=from_milliseconds_or_none(fields["original_expires_at"]),
        last_used_at=from_milliseconds_or_none(fields["last_used_at"]),
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
    }


def scopes_text(scopes: frozenset[str]) -> str:
    """Scopes as the one column holds them."""
    return " ".join(sorted(scopes))


def to_milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // _MILLISECOND


def to_milliseconds_or_none(moment: datetime | None) -> int | None:
    """As ``to_milliseconds``, None staying None."""
    return None if moment is None else to_milliseconds(moment)


def from_milliseconds(milliseconds: int) -> datetime:
    """The moment in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def from_milliseconds_or_none(milliseconds: int | None) -> datetime | None:
    """As ``from_milliseconds``, None staying None."""
    return None if milliseconds is None else from_milliseconds(milliseconds)
