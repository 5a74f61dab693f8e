"""Imports: all keys or none, without gaps between check and transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest

from latchkey.credentials.accounts import AccountChange, NewAccount
from latchkey.credentials.callers import Author
from latchkey.credentials.importing import Foreign, ImportRefused, RefusedLine, import_keys
from latchkey.credentials.models import NewCredential
from latchkey.credentials.publishing import Made, Outcome, Publication, Publisher
from latchkey.errors import DuplicateApiKey
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, result_of, revoke
from tests.support.store.new_credentials import NOW, NewStore, new_credential, verifier_of


def token_hash(number: int) -> bytes:
    return hashlib.sha256(f"token {number}".encode()).digest()


def imported(number: int) -> NewCredential:
    """A credential of another system, as the import creates it."""
    return new_credential(secret_hash=token_hash(number), derivation_id="", origin="imported")


def foreign(number: int) -> Foreign:
    """The same as a line of an import."""
    return Foreign(number, "theirs", token_hash(number), "live", frozenset({"a:read"}), None)


def add_all(store: Store, new: list[NewCredential]) -> list[int]:
    """Store them; returns the number of hashes in each check."""
    checked = []

    def check(present: Collection[bytes]) -> Collection[bytes]:
        checked.append(len(present))
        return ()

    outcome = store.imported.add_all(new, check, {}, TESTER, lambda done: None)
    result_of(outcome)
    assert outcome.publication.lookups == [one.lookup for one in new]
    assert len(outcome.publication.log_rows) == len(new)
    return checked


def test_other_changes_are_possible_during_the_preparation(
    store: Store, new_store: NewStore
) -> None:
    other = new_store(write_timeout=0.05)
    others = [add(other, new_credential()) for _ in range(3)]
    seen: list[int] = []

    def check(present: Collection[bytes]) -> Collection[bytes]:
        if not seen:
            revoke(other, others[0].api_key, NOW)
            add(other, new_credential())
        seen.append(len(present))
        return ()

    new = [imported(number) for number in range(5)]
    progress: list[int] = []
    store.imported.add_all(new, check, {}, TESTER, progress.append)
    # First all existing keys; then, under the lock, only those added since.
    assert seen == [3, 1]
    assert sum(progress) == 5
    for number in range(5):
        verifier = store.imported.verifier(token_hash(number))
        assert verifier is not None
        found = store.find(verifier.principal.api_key)
        assert found is not None
        assert found.origin == "imported"
        assert found.secret_hash == token_hash(number)
        assert verifier == verifier_of(found)
    revoked = store.find(others[0].api_key)
    assert revoked is not None
    assert revoked.revoked_at == NOW


def test_keys_imported_meanwhile_are_detected(
    store: Store, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same keys are imported between the first check and the transaction."""
    other = new_store()
    add_all_at_once = store.imported.add_all

    def add_all_late(
        new: Sequence[NewCredential],
        left_out: Callable[[Collection[bytes]], Collection[bytes]],
        *rest: Any,
        **options: Any,
    ) -> Outcome[list[NewCredential]]:
        def check_then_lose(present: Collection[bytes]) -> Collection[bytes]:
            hashes = left_out(present)
            if other.imported.verifier(token_hash(1)) is None:
                add_all(other, [imported(1)])
            return hashes

        return add_all_at_once(new, check_then_lose, *rest, **options)

    monkeypatch.setattr(store.imported, "add_all", add_all_late)
    keys = [foreign(number) for number in range(3)]
    with pytest.raises(ImportRefused) as refused:
        import_keys(
            keys,
            [],
            "ab" * 32,
            store.imported,
            store.accounts,
            Publisher(store.audit, lambda lookup: None),
            by=TESTER,
        )
    assert [one.line for one in refused.value.lines] == [1]
    assert store.imported.verifier(token_hash(0)) is None
    assert store.imported.verifier(token_hash(1)) is not None


def test_more_than_a_batch(store: Store) -> None:
    count = 10_001
    assert add_all(store, [imported(number) for number in range(count)]) == [0, 0]
    assert set(store.imported.hashes()) == {token_hash(number) for number in range(count)}
    assert add_all(store, [imported(count)]) == [count, 0]
    assert store.count("live") == count + 1


def test_an_existing_key_prevents_the_import(store: Store) -> None:
    there = add(store, new_credential())
    new = [imported(1), imported(2)]
    fields = {name: getattr(new[1], name) for name in NewCredential.__slots__}
    again = NewCredential(**{**fields, "api_key": there.api_key})
    with pytest.raises(DuplicateApiKey):
        add_all(store, [new[0], again])
    assert store.imported.verifier(token_hash(1)) is None
    assert store.count("live") == 1


def test_keys_added_meanwhile_are_left_out(store: Store, new_store: NewStore) -> None:
    other = new_store()
    new = [imported(number) for number in range(3)]
    looks: list[int] = []

    def left_out(present: Collection[bytes]) -> Collection[bytes]:
        looks.append(len(present))
        if len(looks) == 1:
            add_all(other, [imported(1)])
        return present

    outcome = store.imported.add_all(new, left_out, {}, TESTER, lambda done: None)
    assert looks == [0, 1]
    assert result_of(outcome) == [new[0], new[2]]
    # The key that was left out may be from a process that died before it published it.
    assert set(outcome.publication.lookups) == {one.lookup for one in new}
    assert len(outcome.publication.log_rows) == 2
    assert sorted(store.imported.hashes()) == sorted(token_hash(number) for number in range(3))
    # If no key is left, nothing is stored.
    last = store.audit.last()
    outcome = store.imported.add_all(new, left_out, {}, TESTER, lambda done: None)
    assert outcome == Made([], Publication(outcome.publication.lookups))
    assert set(outcome.publication.lookups) == {one.lookup for one in new}
    assert store.audit.last() == last


def test_the_accounts_are_read_in_the_transaction(
    store: Store, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account loses its external id between the first check and the transaction."""
    other = new_store()
    author = Author(TESTER)
    accounts = [
        NewAccount(f"acct_{number:022}", "customer", f"customer-{number}", None, NOW)
        for number in range(2)
    ]
    left = iter(accounts)
    for _ in accounts:
        result_of(store.accounts.add(lambda caller: next(left), author))
    add_all_at_once = store.imported.add_all

    def add_all_late(*arguments: Any, **options: Any) -> Outcome[list[NewCredential]]:
        def decide(caller: object, found: object) -> AccountChange:
            return AccountChange(external_id="another")

        result_of(other.accounts.change(accounts[1].id, NOW, decide, author))
        return add_all_at_once(*arguments, **options)

    keys = [
        replace(key, external_id=external_id, account_id=account_id)
        for key, external_id, account_id in [
            (foreign(0), "customer-0", None),
            (foreign(1), "customer-1", None),
            (foreign(2), None, accounts[1].id),
        ]
    ]

    def import_all() -> list[NewCredential]:
        publisher = Publisher(store.audit, lambda lookup: None)
        parts = (store.imported, store.accounts, publisher)
        return import_keys(keys, [], "ab" * 32, *parts, by=TESTER)

    monkeypatch.setattr(store.imported, "add_all", add_all_late)
    with pytest.raises(ImportRefused) as refused:
        import_all()
    assert refused.value.lines == [
        RefusedLine(1, "external_id: the account was changed meanwhile; try again")
    ]
    assert store.imported.verifier(token_hash(0)) is None
    del keys[1]
    assert [one.account_id for one in import_all()] == [one.id for one in accounts]
