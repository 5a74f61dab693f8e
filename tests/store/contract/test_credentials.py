"""Credentials that are added, found, listed and revoked."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from latchkey.credentials.models import NewCredential
from latchkey.errors import CredentialNotFound, DuplicateApiKey
from latchkey.store.protocols import Store
from tests.support.audited import add, revoke
from tests.support.store.new_credentials import NOW, new_credential

MILLISECOND = timedelta(milliseconds=1)


def test_an_added_credential_is_found_unchanged(store: Store) -> None:
    new = new_credential(
        mode="test",
        name="Übermut – ключ",
        scopes=frozenset({"credentials:read", "account:write"}),
        expires_at=NOW + timedelta(days=1),
    )
    added = add(store, new)
    assert store.find(new.api_key) == added
    for field in fields(NewCredential):
        if field.name != "account_id":
            assert getattr(added, field.name) == getattr(new, field.name)
    assert added.account_id == store.accounts.instance().id
    assert (added.revoked_at, added.rotated_to, added.last_used_at) == (None, None, None)
    assert added.created_at.tzinfo is UTC


def test_a_credential_without_name_and_expiry(store: Store) -> None:
    added = add(store, new_credential(name=None, expires_at=None))
    assert (added.name, added.expires_at) == (None, None)
    assert store.find(added.api_key) == added


def test_an_unknown_key_is_not_found(store: Store) -> None:
    add(store, new_credential())
    assert store.find(new_credential().api_key) is None
    assert store.find("") is None


def test_keys_are_case_sensitive(store: Store) -> None:
    added = add(store, new_credential(api_key="ak_live_000000000000000000000A"))
    assert store.find(added.api_key.lower()) is None
    add(store, new_credential(api_key="ak_live_000000000000000000000a"))


def test_a_key_is_added_once(store: Store) -> None:
    new = new_credential()
    first = add(store, new)
    with pytest.raises(DuplicateApiKey):
        add(store, new)
    with pytest.raises(DuplicateApiKey):
        add(store, new_credential(api_key=new.api_key))
    assert store.page(None, 10, None) == [first]


def test_a_revoked_key_stays_taken(store: Store) -> None:
    new = new_credential()
    add(store, new)
    revoke(store, new.api_key, NOW)
    with pytest.raises(DuplicateApiKey):
        add(store, new)


def test_a_key_after_a_duplicate_is_added(store: Store) -> None:
    new = new_credential()
    add(store, new)
    with pytest.raises(DuplicateApiKey):
        add(store, new)
    other = add(store, new_credential())
    assert store.find(other.api_key) == other


def test_revoking_marks_one_credential_at_a_time(store: Store) -> None:
    one, other = (add(store, new_credential()) for _ in range(2))
    revoked_at = NOW + timedelta(hours=1)
    revoke(store, one.api_key, revoked_at)
    found = store.find(one.api_key)
    assert found is not None
    assert found.revoked_at == revoked_at
    assert store.find(other.api_key) == other


def test_a_second_revocation_changes_nothing(store: Store) -> None:
    added = add(store, new_credential())
    revoke(store, added.api_key, NOW)
    with pytest.raises(CredentialNotFound):
        revoke(store, added.api_key, NOW + timedelta(days=1))
    found = store.find(added.api_key)
    assert found is not None
    assert found.revoked_at == NOW


def test_a_credential_is_revoked_once(store: Store) -> None:
    added = add(store, new_credential(mode="test"))
    revoke(store, added.api_key, NOW)
    with pytest.raises(CredentialNotFound):
        revoke(store, new_credential().api_key, NOW)


def test_pages_are_sorted_from_newest_to_oldest(store: Store) -> None:
    added = [add(store, new_credential(mode=mode)) for mode in ("live", "test") * 5]
    newest_first = added[::-1]
    assert store.page(None, 100, None) == newest_first
    assert store.page(None, 3, None) == newest_first[:3]
    assert store.page(None, 3, newest_first[2].id) == newest_first[3:6]
    assert store.page(None, 3, newest_first[-1].id) == []
    assert store.page("test", 100, None) == [row for row in newest_first if row.mode == "test"]
    assert store.page("live", 2, newest_first[5].id) == [newest_first[7], newest_first[9]]


def test_counts_include_revoked_credentials(store: Store) -> None:
    for mode in ("live", "live", "test"):
        added = add(store, new_credential(mode=mode))
        revoke(store, added.api_key, NOW)
    assert (store.count("live"), store.count("test")) == (2, 1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, microsecond=1000, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, 1000, tzinfo=UTC),
        # Most milliseconds have no exact binary fraction of a second.
        datetime(2026, 3, 29, 1, 0, 0, 57000, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    ],
)
def test_times_are_exact_to_the_millisecond(store: Store, moment: datetime) -> None:
    added = add(store, new_credential(created_at=moment, expires_at=moment))
    revoke(store, added.api_key, moment)
    found = store.find(added.api_key)
    assert found is not None
    assert (found.created_at, found.expires_at, found.revoked_at) == (moment, moment, moment)
