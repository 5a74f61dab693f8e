"""The contract of erasing an account."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from latchkey.credentials.accounts import Account, AccountSelection, NewAccount
from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import NO_CONDITIONS
from latchkey.credentials.models import Credential, Mode, Sighting, Tally
from latchkey.credentials.publishing import Made, Publication
from latchkey.errors import AccountNotFound, InvalidField
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, answered, record, result_of
from tests.support.store.new_credentials import NOW, new_credential

OPERATOR = Author(TESTER)
LATER = NOW + timedelta(hours=1)


def made_account(store: Store, number: int) -> Account:
    new = NewAccount(f"acct_{number:022}", "Ann Example", f"customer-{number}", '{"a":1}', NOW)
    return answered(store, store.accounts.add(lambda caller: new, OPERATOR))


def made_key(store: Store, account: Account, mode: Mode = "live") -> Credential:
    new = replace(
        new_credential(mode=mode), account_id=account.id, name="of Ann", metadata='{"seat":"Ann"}'
    )
    return add(store, new, by=Actor.administrator("bob", "192.0.2.7"))


def test_everything_that_identifies_the_customer_is_removed(store: Store) -> None:
    account, other = made_account(store, 1), made_account(store, 2)
    keys = [made_key(store, account), made_key(store, account, "test")]
    kept = made_key(store, other)
    sighting = Sighting("198.51.100.1", NOW)
    for key in (*keys, kept):
        store.usage.flush("s", [Tally(key.id, uses=1, sightings=(sighting,))], NOW)
    by_key = Actor.key(keys[0].api_key, "198.51.100.1")
    record(store, AuditEvent(NOW, Action.KEY_CHANGE, by_key, "ak_other", {"name": ["a", "b"]}))
    rows = {row.number: row for row in store.audit.entries()}

    erased = answered(store, store.accounts.erase(account.id, LATER, OPERATOR))

    assert erased.credential_ids == tuple(key.id for key in keys)
    assert erased.revoked == 2
    assert erased.account == store.accounts.find(account.id)
    assert erased.account == replace(
        account, name=None, external_id=None, metadata=None, disabled_at=LATER, erased_at=LATER
    )
    for key in keys:
        found = store.find(key.api_key)
        assert found is not None
        assert (found.name, found.metadata, found.conditions) == (None, None, NO_CONDITIONS)
        assert found.revoked_at == LATER
        assert store.usage.record(key.id, "s").sightings == ()
    other_key = store.find(kept.api_key)
    assert other_key is not None
    assert (other_key.name, other_key.revoked_at) == ("of Ann", None)
    assert store.usage.record(kept.id, "s").sightings == (sighting,)

    after = {row.number: row for row in store.audit.entries()}
    about = {account.id, *(key.api_key for key in keys)}
    for number, row in rows.items():
        found_row = after[number]
        assert found_row.mac == row.mac
        if row.subject in about:
            assert (found_row.address, found_row.detail) == (None, "")
            assert found_row.is_detail_erased
        elif row.actor == keys[0].api_key:
            assert found_row.is_address_erased
            assert found_row.detail == row.detail
        else:
            assert found_row == row
    last = after[max(after)]
    assert (last.action, last.subject, last.actor) == ("account.erase", account.id, "tester")
    detail = json.loads(last.detail)
    assert (detail["keys"], detail["revoked"]) == (2, 2)
    verified = store.audit.verify()
    assert verified.findings == []
    counts = (verified.erased_addresses, verified.erased_details)
    assert counts == (erased.addresses, erased.details)
    assert (erased.addresses, erased.details) == (3, 3)


def test_the_account_is_published_as_one_lookup(store: Store) -> None:
    account = made_account(store, 1)
    made = store.accounts.erase(account.id, LATER, OPERATOR)
    assert isinstance(made, Made)
    assert list(made.publication.lookups) == [account.id]
    assert [row.lookup for row in store.invalidations.after(0)][-1] == account.id
    # Again: published, because a process may have died before that, but not recorded.
    again = store.accounts.erase(account.id, LATER + timedelta(hours=1), OPERATOR)
    assert isinstance(again, Made)
    assert again.publication == Publication([account.id])
    assert again.result.account.erased_at == LATER


def test_an_erased_account_stays_in_listings_and_gets_no_keys(store: Store) -> None:
    account = made_account(store, 1)
    result_of(store.accounts.erase(account.id, LATER, OPERATOR))
    listed = store.accounts.page(AccountSelection(), None)
    assert [one.erased_at for one in listed if one.id == account.id] == [LATER]
    assert store.accounts.find_external("customer-1") is None
    with pytest.raises(AccountNotFound):
        made_key(store, account)


def test_an_address_in_flight_is_not_persisted(store: Store) -> None:
    account = made_account(store, 1)
    key = made_key(store, account)
    result_of(store.accounts.erase(account.id, LATER, OPERATOR))
    sighting = Sighting("198.51.100.1", NOW)
    store.usage.flush("s", [Tally(key.id, uses=3, sightings=(sighting,))], NOW)
    persisted = store.usage.record(key.id, "s")
    assert persisted.sightings == ()
    assert sum(persisted.hours.values()) == 3


def test_the_instance_account_cannot_be_erased(store: Store) -> None:
    instance = store.accounts.instance()
    with pytest.raises(InvalidField, match="the instance account cannot be erased"):
        result_of(store.accounts.erase(instance.id, LATER, OPERATOR))
    assert store.accounts.instance() == instance
    with pytest.raises(AccountNotFound):
        result_of(store.accounts.erase("acct_missing", LATER, OPERATOR))
