"""Verifiers: their data is that of the credential, in every state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from latchkey.credentials.models import Credential, Verifier
from latchkey.store.protocols import Store
from tests.support.audited import add, revoke
from tests.support.store.new_credentials import NOW, new_credential, verifier_of

HOUR = timedelta(hours=1)


def of(credential: Credential | None) -> Verifier:
    assert credential is not None
    return verifier_of(credential)


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"mode": "test", "name": "Übermut – ключ"},
        {"name": None, "scopes": frozenset()},
        {"scopes": frozenset({"credentials:read", "account:write"})},
        {"expires_at": NOW + HOUR},
    ],
)
def test_a_verifier_has_the_fields_of_the_credential(store: Store, terms: dict[str, Any]) -> None:
    added = add(store, new_credential(**terms))
    other = add(store, new_credential())
    assert store.verifier(added.api_key) == of(added)
    revoke(store, added.api_key, NOW)
    assert store.verifier(added.api_key) == of(store.find(added.api_key))
    assert store.verifier(other.api_key) == of(other)


def test_an_unknown_key_has_none(store: Store) -> None:
    added = add(store, new_credential())
    for key in (new_credential().api_key, added.api_key[:-1], f"{added.api_key}0", ""):
        assert store.verifier(key) is None
    # Only an imported credential is found by its hash.
    assert store.imported.verifier(added.secret_hash) is None


def test_the_hash_of_a_secret_is_not_shown(store: Store) -> None:
    verifier = store.verifier(add(store, new_credential()).api_key)
    assert verifier is not None
    shown = f"{verifier!r} {verifier}"
    assert repr(verifier.secret_hash) not in shown
    assert verifier.principal.api_key in shown
