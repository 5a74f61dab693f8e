"""Rows and the domain's models, each as the other: times, scopes, credentials."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from latchkey.credentials.models import Credential, Mode, NewCredential, Origin, Principal, Verifier

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH_LENGTH = 32
_MILLISECOND = timedelta(milliseconds=1)


def credential_of(row: Sequence[Any]) -> Credential:
    """The credential that a row holds, all its columns in the table's order.

    Raises ValueError, TypeError or AttributeError where it cannot be one.
    """
    (
        number,
        api_key,
        secret_hash,
        derivation_id,
        account_id,
        mode,
        name,
        scopes,
        created_at,
        expires_at,
        revoked_at,
        rotated_to,
        original_expires_at,
        last_used_at,
        first_used_at,
        origin,
    ) = row
    _check_hash(number, secret_hash)
    return Credential(
        id=number,
        api_key=api_key,
        secret_hash=secret_hash,
        derivation_id=derivation_id,
        account_id=account_id,
        mode=cast(Mode, mode),
        name=name,
        scopes=frozenset(scopes.split()),
        created_at=from_milliseconds(created_at),
        expires_at=from_milliseconds_or_none(expires_at),
        revoked_at=from_milliseconds_or_none(revoked_at),
        rotated_to=rotated_to,
        original_expires_at=from_milliseconds_or_none(original_expires_at),
        last_used_at=from_milliseconds_or_none(last_used_at),
        first_used_at=from_milliseconds_or_none(first_used_at),
        origin=cast(Origin, origin),
    )


def verifier_of(row: Sequence[Any]) -> Verifier:
    """The verifier in a row that was read to check a secret; see ``latchkey.store.lookup``.

    Raises as ``credential_of``.
    """
    number, api_key, secret_hash, account_id, mode, name, scopes, expires_at, revoked_at = row
    _check_hash(number, secret_hash)
    principal = Principal(
        credential_id=number,
        account_id=account_id,
        api_key=api_key,
        mode=mode,
        name=name,
        scopes=frozenset(scopes.split()),
        expires_at=from_milliseconds_or_none(expires_at),
    )
    return Verifier(secret_hash, revoked_at is not None, principal)


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
    }


def _check_hash(number: int, secret_hash: object) -> None:
    if not isinstance(secret_hash, bytes) or len(secret_hash) != _HASH_LENGTH:
        raise ValueError(f"credential {number} has a hash that is none")


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
