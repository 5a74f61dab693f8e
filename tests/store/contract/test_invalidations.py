"""The log of invalidations: in the order of the changes, read in batches, and pruned."""

from __future__ import annotations

from datetime import timedelta

import pytest

from latchkey.credentials.audit import Action
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Invalidation
from latchkey.errors import CredentialNotFound
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, result_of, revoke
from tests.support.store.new_credentials import NOW, NewStore, new_credential

HOUR = timedelta(hours=1)


def logged(store: Store, after: int = 0) -> list[str]:
    return [row.lookup for row in store.invalidations.after(after)]


def test_an_empty_log(store: Store) -> None:
    assert store.invalidations.after(0) == []
    assert store.invalidations.prune(NOW, below=9) == 0


def test_rows_have_the_lookup_key_and_the_time(store: Store) -> None:
    new = new_credential(created_at=NOW - HOUR)
    add(store, new)
    revoke(store, new.api_key, NOW)
    first, second = store.invalidations.after(0)
    milliseconds = round(NOW.timestamp() * 1000)
    assert first == Invalidation(first.number, new.lookup, milliseconds - 3_600_000, first.nonce)
    assert second == Invalidation(second.number, new.lookup, milliseconds, second.nonce)
    assert first.nonce != second.nonce
    assert 0 < first.number < second.number
    assert store.invalidations.after(first.number) == [second]
    assert store.invalidations.after(second.number) == []


def test_a_change_publishes_the_number_of_its_row(store: Store, new_store: NewStore) -> None:
    other = new_store()
    outcomes = [
        writer.add(lambda caller: new_credential(), Action.KEY_ISSUE, Author(TESTER))
        for writer in (store, other, store)
    ]
    published = [number for outcome in outcomes for number in outcome.publication.log_rows]
    assert published == [row.number for row in store.invalidations.after(0)]
    assert published == sorted(published)


def test_a_rolled_back_change_is_not_logged(store: Store) -> None:
    added = add(store, new_credential())
    revoke(store, added.api_key, NOW)
    before = store.invalidations.after(0)
    with pytest.raises(CredentialNotFound):
        revoke(store, added.api_key, NOW)
    assert store.invalidations.after(0) == before
    add(store, new_credential())
    assert store.invalidations.after(0)[: len(before)] == before


def test_old_rows_are_deleted_except_the_last(store: Store) -> None:
    """The log never goes back: the last row stays, and numbers are not reused."""
    keys = [new_credential(created_at=NOW + hour * HOUR) for hour in range(5)]
    for new in keys:
        add(store, new)
    numbers = [row.number for row in store.invalidations.after(0)]
    assert store.invalidations.prune(NOW + 2 * HOUR, below=numbers[1]) == 1
    assert store.invalidations.prune(NOW + 2 * HOUR, below=numbers[4] + 9) == 1
    assert logged(store) == [new.lookup for new in keys[2:]]
    assert store.invalidations.prune(NOW + 99 * HOUR, below=numbers[4] + 9) == 2
    assert [row.number for row in store.invalidations.after(0)] == numbers[4:]
    add(store, new_credential())
    assert store.invalidations.after(numbers[4])[0].number > numbers[4]


def test_a_long_log_is_read_in_batches(store: Store) -> None:
    count = 10_500
    new = [new_credential(origin="imported", derivation_id="") for _ in range(count)]
    result_of(store.imported.add_all(new, lambda there: (), {}, TESTER, lambda done: None))
    first = store.invalidations.after(0)
    assert len(first) == 10_000
    rest = store.invalidations.after(first[-1].number)
    assert [row.lookup for row in (*first, *rest)] == [one.lookup for one in new]
