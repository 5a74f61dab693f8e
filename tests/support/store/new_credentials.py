"""Distinct credentials for the tests of a store."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from latchkey.credentials.models import Credential, NewCredential, Verifier
from latchkey.store.protocols import Store

NewStore = Callable[..., Store]
"""Creates another store with the database of a test."""

NOW = datetime(2026, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)

_numbers = itertools.count()


def new_credential(**fields: Any) -> NewCredential:
    """A credential with a unique key and the given fields."""
    number = next(_numbers)
    complete = {
        "api_key": f"ak_{fields.get('mode', 'live')}_{number:022}",
        "secret_hash": number.to_bytes(32),
        "derivation_id": "0123456789abcdef",
        "account_id": None,
        "mode": "live",
        "name": "test",
        "scopes": frozenset({"*"}),
        "created_at": NOW,
        "expires_at": None,
        **fields,
    }
    return NewCredential(**complete)


def verifier_of(credential: Credential) -> Verifier:
    """The expected verifier of a credential."""
    revoked = credential.revoked_at is not None
    return Verifier(
        credential.secret_hash,
        revoked,
        credential.principal(),
        credential.effective_conditions,
        credential.checked_limits,
    )
