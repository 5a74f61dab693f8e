"""The data of the domain: the status at the exact millisecond, and reprs without secrets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from latchkey.credentials.accounts import Account
from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.models import MODES, Credential, NewCredential, Principal
from latchkey.credentials.tokens import lookup_key, new_api_key

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
ACCOUNT = Account(3, "acct_1", "Acme", "customer-17", '{"plan":"gold"}', NOON)
CREDENTIAL = Credential(
    id=7,
    api_key="ak_live_" + "0" * 22,
    secret_hash=b"hash-of-the-secret-hash-of-the-s",
    derivation_id="0123456789abcdef",
    account=ACCOUNT,
    mode="live",
    name="billing",
    scopes=frozenset({"account:read"}),
    created_at=NOON,
    expires_at=None,
    revoked_at=None,
    rotated_to=None,
    original_expires_at=None,
    last_used_at=None,
    first_used_at=None,
)


def test_a_credential_without_an_expiry_stays_active() -> None:
    assert CREDENTIAL.status(NOON) == "active"
    assert CREDENTIAL.status(datetime.max.replace(tzinfo=UTC)) == "active"


def test_it_expires_at_the_exact_millisecond() -> None:
    expiring = replace(CREDENTIAL, expires_at=NOON)
    assert expiring.status(NOON - MILLISECOND) == "active"
    assert expiring.status(NOON - timedelta(microseconds=1)) == "active"
    assert expiring.status(NOON) == "expired"
    assert expiring.status(NOON + MILLISECOND) == "expired"
    # Instants are compared, not local times.
    west = timezone(timedelta(hours=-5))
    assert expiring.status(NOON.astimezone(west)) == "expired"
    assert expiring.status((NOON - MILLISECOND).astimezone(west)) == "active"


@pytest.mark.parametrize("expires_at", [None, NOON - MILLISECOND, NOON, NOON + MILLISECOND])
def test_revoked_takes_precedence_over_expired(expires_at: datetime | None) -> None:
    revoked = replace(CREDENTIAL, expires_at=expires_at, revoked_at=NOON - MILLISECOND)
    assert revoked.status(NOON) == "revoked"


def test_the_principal_has_the_fields_of_the_row() -> None:
    credential = replace(CREDENTIAL, expires_at=NOON)
    assert credential.principal() == Principal(
        credential_id=7,
        account_id="acct_1",
        api_key=CREDENTIAL.api_key,
        mode="live",
        name="billing",
        scopes=frozenset({"account:read"}),
        expires_at=NOON,
        external_id="customer-17",
        metadata_text='{"plan":"gold"}',
    )
    assert credential.principal().account_metadata == {"plan": "gold"}
    own = replace(CREDENTIAL, account=replace(ACCOUNT, is_instance=True, metadata=None))
    assert own.principal().in_instance_account
    assert own.principal().account_metadata == {}


def test_a_key_of_a_disabled_account_counts_as_disabled() -> None:
    disabled = replace(ACCOUNT, disabled_at=NOON)
    assert (ACCOUNT.status, disabled.status) == ("active", "disabled")
    assert CREDENTIAL.effective_conditions == CREDENTIAL.conditions
    assert not replace(CREDENTIAL, account=disabled).effective_conditions.enabled


def test_the_rotation_age_gives_rotate_by() -> None:
    assert CREDENTIAL.rotate_by(timedelta(days=90)) == NOON + timedelta(days=90)


def test_values_are_immutable() -> None:
    for value in (CREDENTIAL, CREDENTIAL.principal()):
        for field in fields(value):
            with pytest.raises(FrozenInstanceError):
                setattr(value, field.name, None)


def test_no_repr_shows_the_hash_of_a_secret() -> None:
    new = NewCredential(
        api_key=CREDENTIAL.api_key,
        secret_hash=CREDENTIAL.secret_hash,
        derivation_id=CREDENTIAL.derivation_id,
        account_id=CREDENTIAL.account_id,
        mode="live",
        name=None,
        scopes=CREDENTIAL.scopes,
        created_at=NOON,
        expires_at=None,
    )
    for shown in (repr(CREDENTIAL), repr(new), repr(CREDENTIAL.principal())):
        assert "hash-of-the-secret" not in shown
        assert CREDENTIAL.api_key in shown


def test_the_lookup_key_is_the_shared_part_of_a_key_and_its_secret() -> None:
    for mode in MODES:
        api_key = new_api_key(mode)
        secret = DerivationKey(bytes(32)).derive(api_key)
        stored = replace(CREDENTIAL, api_key=api_key)
        assert stored.lookup == lookup_key(api_key) == lookup_key(secret)
