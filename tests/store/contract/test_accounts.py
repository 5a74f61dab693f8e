"""The contract of the store of accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from latchkey.credentials.accounts import (
    Account,
    AccountChange,
    AccountSelection,
    NewAccount,
    RevokedKeys,
)
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Change, Credential
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.errors import (
    AccountNotFound,
    CredentialNotFound,
    DisabledCredential,
    DuplicateExternalId,
    InsufficientScope,
)
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, result_of
from tests.support.store.new_credentials import NOW, new_credential

OPERATOR = Author(TESTER)
LATER = NOW + timedelta(hours=1)


def new_account(number: int, external_id: str | None = None) -> NewAccount:
    return NewAccount(f"acct_{number:022}", f"customer {number}", external_id, None, NOW)


def made(store: Store, number: int = 7, external_id: str | None = None) -> Account:
    new = new_account(number, external_id)
    return result_of(store.accounts.add(lambda caller: new, OPERATOR))


def changed(store: Store, account: Account, **terms: Any) -> Outcome[Account]:
    return store.accounts.change(
        account.id,
        LATER,
        lambda caller, found: AccountChange(**terms),
        OPERATOR,
    )


def last_row(store: Store) -> tuple[str, str | None, str]:
    *_, row = store.audit.entries()
    return row.action, row.subject, row.detail


def test_every_database_has_an_instance_account(store: Store) -> None:
    instance = store.accounts.instance()
    assert instance.is_instance
    assert instance.status == "active"
    assert store.accounts.find(instance.id) == instance
    assert add(store, new_credential()).account == instance


def test_an_account_is_stored_and_found(store: Store) -> None:
    new = replace(new_account(7, "customer-7"), metadata='{"plan":"gold"}')
    outcome = store.accounts.add(lambda caller: new, OPERATOR)
    assert isinstance(outcome, Made)
    added = outcome.result
    assert (added.id, added.name, added.external_id) == (new.id, "customer 7", "customer-7")
    assert (added.metadata, added.created_at, added.status) == (new.metadata, NOW, "active")
    assert not added.is_instance
    assert store.accounts.find(added.id) == added
    assert store.accounts.find_external("customer-7") == added
    assert store.accounts.find("acct_" + "z" * 22) is None
    assert store.accounts.find_external("nobody") is None
    assert outcome.publication.lookups == [added.id]
    assert [row.lookup for row in store.invalidations.after(0)] == [added.id]
    action, subject, detail = last_row(store)
    assert (action, subject) == ("account.create", added.id)
    assert '"external_id":"customer-7"' in detail


def test_an_external_id_is_unique(store: Store) -> None:
    first = made(store, 1, "same")
    with pytest.raises(DuplicateExternalId):
        made(store, 2, "same")
    second = made(store, 2)
    with pytest.raises(DuplicateExternalId):
        result_of(changed(store, second, external_id="same"))
    assert store.accounts.find(second.id) == second
    result_of(changed(store, first, external_id=""))
    assert result_of(changed(store, second, external_id="same")).external_id == "same"


def test_terms_change_one_by_one(store: Store) -> None:
    account = made(store, 7, "old")
    outcome = changed(store, account, name="new", status="disabled")
    after = result_of(outcome)
    assert after == replace(account, name="new", disabled_at=LATER)
    assert after.status == "disabled"
    assert last_row(store) == (
        "account.change",
        account.id,
        '{"name":["customer 7","new"],"status":["active","disabled"]}',
    )
    assert result_of(changed(store, account, status="active")) == replace(account, name="new")
    assert result_of(changed(store, account, metadata='{"a":1}')).metadata == '{"a":1}'
    assert result_of(changed(store, account, metadata="", external_id="")) == replace(
        account, name="new", external_id=None
    )


def test_a_change_that_is_found_made_is_published_again(store: Store) -> None:
    account = made(store)
    result_of(changed(store, account, status="disabled"))
    rows = store.audit.last().number
    assert changed(store, account, status="disabled") == Made(
        store.accounts.find(account.id), Publication([account.id])
    )
    assert store.audit.last().number == rows


def test_an_unknown_account_is_not_changed(store: Store) -> None:
    stranger = replace(store.accounts.instance(), id="acct_" + "z" * 22)
    with pytest.raises(AccountNotFound):
        changed(store, stranger, name="x")
    with pytest.raises(AccountNotFound):
        store.accounts.revoke_keys(stranger.id, None, NOW, OPERATOR)
    with pytest.raises(AccountNotFound):
        store.accounts.revocable(stranger.id, None)
    with pytest.raises(AccountNotFound):
        add(store, new_credential(account_id=stranger.id))


def test_a_key_of_a_disabled_account_is_disabled(store: Store) -> None:
    account = made(store, 7, "customer-7")
    key = add(store, new_credential(account_id=account.id))
    imported = add(store, new_credential(account_id=account.id, origin="imported"))
    other = add(store, new_credential())
    result_of(changed(store, account, status="disabled"))
    for verifier in (store.verifier(key.api_key), store.imported.verifier(imported.secret_hash)):
        assert verifier is not None
        assert not verifier.conditions.enabled
        assert verifier.principal.external_id == "customer-7"
        assert not verifier.principal.in_instance_account
    found = store.verifier(other.api_key)
    assert found is not None
    assert found.conditions.enabled
    assert found.principal.in_instance_account
    result_of(changed(store, account, status="active"))
    again = store.verifier(key.api_key)
    assert again is not None
    assert again.conditions.enabled


def test_pages_and_selections(store: Store) -> None:
    instance = store.accounts.instance()
    accounts = [made(store, number, f"customer-{number}") for number in range(1, 8)]
    newest = [*accounts[::-1], instance]
    everything = AccountSelection()
    assert store.accounts.page(everything, 100) == newest
    assert store.accounts.page(everything, 3, newest[1].number) == newest[2:5]
    assert store.accounts.page(everything, 3, offset=2) == newest[2:5]
    assert list(store.accounts.newest(everything, None)) == newest
    assert list(store.accounts.newest(everything, 2)) == newest[:2]
    assert store.accounts.count(everything) == 8
    disabled = result_of(changed(store, accounts[2], status="disabled"))
    assert store.accounts.page(AccountSelection(status="disabled"), 9) == [disabled]
    assert store.accounts.count(AccountSelection(status="active")) == 7
    assert store.accounts.page(AccountSelection(external_id="customer-5"), 9) == [accounts[4]]
    assert store.accounts.page(AccountSelection(search="USTOMER 6"), 9) == [accounts[5]]
    assert store.accounts.page(AccountSelection(search="mer-7"), 9) == [accounts[6]]
    assert store.accounts.page(AccountSelection(search=accounts[0].id), 9) == [accounts[0]]


def test_the_keys_of_an_account_are_counted_and_revoked(store: Store) -> None:
    account, other = made(store, 7), made(store, 8)
    live = [add(store, new_credential(account_id=account.id)) for _ in range(3)]
    test = add(store, new_credential(account_id=account.id, mode="test"))
    kept = add(store, new_credential(account_id=other.id))
    assert store.accounts.key_counts([account.id, other.id]) == {account.id: 4, other.id: 1}
    assert store.accounts.credential_ids(account.id, None) == [one.id for one in [*live, test]]
    assert store.accounts.credential_ids(account.id, "test") == [test.id]
    keys = tuple(one.api_key for one in live[::-1])
    assert store.accounts.revocable(account.id, "live") == RevokedKeys(3, 0, keys)
    outcome = store.accounts.revoke_keys(account.id, "live", LATER, OPERATOR)
    assert result_of(outcome) == RevokedKeys(3, 3, keys)
    assert isinstance(outcome, Made)
    assert outcome.publication.lookups == [account.id]
    assert last_row(store) == (
        "account.revoke_keys",
        account.id,
        '{"mode":"live","revoked":3}',
    )
    for one in live:
        found = store.find(one.api_key)
        assert found is not None
        assert found.revoked_at == LATER
    assert store.find(test.api_key) == test
    assert store.find(kept.api_key) == kept
    rows = store.audit.last().number
    again = store.accounts.revoke_keys(account.id, "live", LATER, OPERATOR)
    assert again == Made(RevokedKeys(0, 0, ()), Publication([account.id]))
    assert store.audit.last().number == rows
    assert store.accounts.key_counts([account.id]) == {account.id: 1}


def test_listings_of_one_account(store: Store) -> None:
    account = made(store)
    mine = add(store, new_credential(account_id=account.id))
    mine_test = add(store, new_credential(account_id=account.id, mode="test"))
    add(store, new_credential())
    assert store.page(None, 9, None, account.id) == [mine_test, mine]
    assert store.page("live", 9, None, account.id) == [mine]
    assert store.page("live", 9, mine.id, account.id) == []


# ---- The reach of a calling key

CHANGES: list[Callable[[Store, str, Author], object]] = [
    lambda store, key, author: store.revoke(key, NOW, author),
    lambda store, key, author: store.change(key, NOW, lambda *found: Change("new"), author),
]


@pytest.mark.parametrize("make", CHANGES, ids=["revoke", "change"])
def test_a_change_is_limited_to_the_reach_of_the_caller(
    store: Store, make: Callable[[Store, str, Author], Outcome[Credential]]
) -> None:
    account = made(store)

    def key(**fields: object) -> Credential:
        return add(store, new_credential(**fields))

    of_account = Author(TESTER, key(account_id=account.id).principal())
    of_instance = Author(TESTER, key().principal())
    over_all = Author(
        TESTER, key(scopes=frozenset({"credentials:write", "accounts:write"})).principal()
    )
    reader = Author(
        TESTER, key(scopes=frozenset({"credentials:write", "accounts:read"})).principal()
    )
    pretender = Author(
        TESTER,
        key(
            account_id=account.id, scopes=frozenset({"credentials:write", "accounts:write"})
        ).principal(),
    )
    cases = [
        (of_account, {"account_id": account.id}, True),
        (of_account, {"account_id": account.id, "mode": "test"}, False),
        (of_account, {}, False),
        (of_instance, {}, True),
        (of_instance, {"account_id": account.id}, False),
        (reader, {"account_id": account.id}, False),
        (over_all, {"account_id": account.id}, True),
        (over_all, {"account_id": account.id, "mode": "test"}, False),
        (pretender, {}, False),
        (pretender, {"account_id": account.id}, True),
    ]
    for author, fields, reached in cases:
        target = key(**fields)
        if reached:
            result_of(make(store, target.api_key, author))
        else:
            with pytest.raises(CredentialNotFound):
                make(store, target.api_key, author)
            assert store.find(target.api_key) == target


def test_a_caller_of_a_disabled_account_changes_nothing(store: Store) -> None:
    account = made(store)
    caller = add(store, new_credential(account_id=account.id))
    result_of(changed(store, account, status="disabled"))
    outcome = store.revoke(caller.api_key, NOW, Author(TESTER, caller.principal(), None))
    assert outcome.error.code("bearer") == DisabledCredential().code("bearer")  # type: ignore[union-attr]
    assert outcome.publication == Publication([caller.lookup])


def test_a_caller_that_lost_its_scope_changes_no_account(store: Store) -> None:
    account = made(store)
    caller = add(store, new_credential(scopes=frozenset({"accounts:write"})))
    author = Author(TESTER, caller.principal(), "accounts:write")
    new = new_account(9)
    result_of(store.accounts.add(lambda caller: new, author))
    result_of(
        store.change(
            caller.api_key,
            NOW,
            lambda *found: Change(scopes=frozenset({"accounts:read"})),
            OPERATOR,
        )
    )
    for outcome in (
        store.accounts.add(lambda caller: new_account(10), author),
        store.accounts.change(account.id, NOW, lambda *found: AccountChange("x"), author),
        store.accounts.revoke_keys(account.id, None, NOW, author),
    ):
        assert isinstance(outcome.error, InsufficientScope)  # type: ignore[union-attr]
        assert outcome.publication == Publication([caller.lookup])
    assert store.accounts.find(account.id) == account


def test_accounts_are_found_by_many_ids_and_external_ids(store: Store) -> None:
    accounts = [made(store, number, f"customer-{number}") for number in range(3)]
    first, second, third = accounts
    ids = [second.id, third.id, "acct_" + "z" * 22]
    found = store.accounts.find_many(ids, ["customer-0", "customer-1", "nobody"])
    assert sorted(found, key=lambda one: one.number) == accounts
    assert store.accounts.find_many([], ["customer-0"]) == [first]
    assert store.accounts.find_many([], []) == []
