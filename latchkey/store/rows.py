"""Conversion between rows and the domain's models: times, scopes, credentials, accounts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from latchkey.credentials.accounts import Account, NewAccount
from latchkey.credentials.conditions import conditions_of_text, conditions_text
from latchkey.credentials.limits import (
    AccountLimits,
    SharedLimits,
    account_limits_of_text,
    account_limits_text,
    stored_limits_of_text,
)
from latchkey.credentials.models import Credential, NewCredential
from latchkey.credentials.times import (
    from_milliseconds,
    from_milliseconds_or_none,
    to_milliseconds,
    to_milliseconds_or_none,
)
from latchkey.store.tables import account, credential

_HASH_LENGTH = 32

ACCOUNT_COLUMNS = tuple(column.label(f"account_{column.name}") for column in account.c)
"""The columns of an account, with names that differ from those of a credential's columns.

``account_id`` is the only common one, and has the same value in both.
"""

SHARING = credential.alias("sharing")
"""The credential whose limits another one shares."""
SHARED_COLUMNS = (
    SHARING.c.api_key.label("shared_api_key"),
    SHARING.c.limits.label("shared_limits"),
)


def joined_credential_of(row: Row[Any]) -> Credential:
    """The credential in a row that has the columns of its account too, and SHARED_COLUMNS.

    Raises as the functions below.
    """
    shared = None
    if row.limits_of is not None:
        shared = shared_limits_of(row.limits_of, row.shared_api_key, row.shared_limits)
    return credential_of(row, account_of(row), shared)


def shared_limits_of(number: int, api_key: str | None, limits: str | None) -> SharedLimits:
    """The limits that others share with the credential of this number.

    Raises ValueError if it is missing: then a key that has limits would have none.
    """
    if api_key is None:
        raise ValueError(f"credential {number}, whose limits apply, is missing")
    return SharedLimits(number, api_key, stored_limits_of_text(limits))


def account_of(row: Row[Any]) -> Account:
    """The account in a row with ACCOUNT_COLUMNS.

    Raises ValueError or TypeError if the row is not valid.
    """
    return Account(
        number=row.account_number,
        id=row.account_id,
        name=row.account_name,
        external_id=row.account_external_id,
        metadata=row.account_metadata,
        created_at=from_milliseconds(row.account_created_at),
        disabled_at=from_milliseconds_or_none(row.account_disabled_at),
        erased_at=from_milliseconds_or_none(row.account_erased_at),
        is_instance=row.account_instance == 1,
        limits=account_limits_of_text(row.account_limits),
    )


def account_values(new: NewAccount, limits: AccountLimits) -> dict[str, Any]:
    """The columns of a row for a new account with these limits."""
    return {
        "id": new.id,
        "name": new.name,
        "external_id": new.external_id,
        "metadata": new.metadata,
        "created_at": to_milliseconds(new.created_at),
        "instance": 0,
        "limits": account_limits_text(limits),
    }


def account_term_values(account: Account) -> dict[str, Any]:
    """The columns that a change of an account sets."""
    return {
        "name": account.name,
        "external_id": account.external_id,
        "metadata": account.metadata,
        "disabled_at": to_milliseconds_or_none(account.disabled_at),
        "limits": account_limits_text(account.limits),
    }


def credential_of(row: Row[Any], of: Account, shared: SharedLimits | None) -> Credential:
    """The credential of an account that a row of the table holds, with the limits that it shares.

    Raises ValueError, TypeError or AttributeError if the row is not valid.
    """
    return Credential(
        id=row.id,
        api_key=row.api_key,
        secret_hash=checked_hash(row.id, row.secret_hash),
        derivation_id=row.derivation_id,
        account=of,
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
        limits=stored_limits_of_text(row.limits),
        shared_limits=shared,
    )


def values_of(new: NewCredential, account_id: str, limits: str | None) -> dict[str, Any]:
    """The columns of a row for a new credential of an account, with the text of its limits."""
    return {
        "api_key": new.api_key,
        "secret_hash": new.secret_hash,
        "derivation_id": new.derivation_id,
        "account_id": account_id,
        "mode": new.mode,
        "name": new.name,
        "scopes": scopes_text(new.scopes),
        "created_at": to_milliseconds(new.created_at),
        "expires_at": to_milliseconds_or_none(new.expires_at),
        "origin": new.origin,
        "conditions": conditions_text(new.conditions),
        "metadata": new.metadata,
        "limits": limits,
        "limits_of": new.limits_of,
    }


def checked_hash(number: int, secret_hash: object) -> bytes:
    """The hash of a row, which may have been altered; raises ValueError if it is not a hash."""
    if not isinstance(secret_hash, bytes) or len(secret_hash) != _HASH_LENGTH:
        raise ValueError(f"credential {number} has an invalid hash")
    return secret_hash


def scopes_text(scopes: frozenset[str]) -> str:
    """Scopes as the text of their column."""
    return " ".join(sorted(scopes))
