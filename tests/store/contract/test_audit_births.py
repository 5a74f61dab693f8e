"""Audit rows about the creation of a key: the rotation or the import that created it."""

from __future__ import annotations

from datetime import timedelta

from latchkey.credentials.audit import AuditFilter
from latchkey.store.protocols import Store
from tests.support.audited import revoke
from tests.support.store.births import import_some, issue, rotated, told
from tests.support.store.new_credentials import NOW, new_credential


def test_the_rows_of_a_successor_include_its_rotation(store: Store) -> None:
    first = issue(store).api_key
    other = issue(store).api_key
    second = rotated(store, first)
    revoke(store, second, NOW)
    # After another rotation it has another successor, but the first one was created all the same.
    third = rotated(store, first)
    fourth = rotated(store, third)
    assert told(store, first) == [(1, "key.issue"), (3, "key.rotate"), (5, "key.rotate")]
    assert told(store, second) == [(3, "key.rotate"), (4, "key.revoke")]
    assert told(store, third) == [(5, "key.rotate"), (6, "key.rotate")]
    assert told(store, fourth) == [(6, "key.rotate")]
    assert told(store, other) == [(2, "key.issue")]
    assert told(store, new_credential().api_key) == []
    # Other conditions of the filter apply to those rows, too.
    assert store.audit.page(AuditFilter(second, action="key.issue"), 10) == []
    assert [entry.number for entry in store.audit.page(AuditFilter(second), 10, before=4)] == [3]


def test_the_rows_of_an_imported_key_include_only_its_import(store: Store) -> None:
    issued = issue(store).api_key
    one = import_some(store, 3)
    # The second import begins in the same millisecond as the first, the third does not.
    two, three = import_some(store, 2), import_some(store, 2, timedelta(seconds=1))
    assert [told(store, api_key) for api_key in one] == [[(2, "key.import")]] * 3
    assert [told(store, api_key) for api_key in two] == [[(3, "key.import")]] * 2
    assert [told(store, api_key) for api_key in three] == [[(4, "key.import")]] * 2
    assert told(store, issued) == [(1, "key.issue")]
    successor = rotated(store, one[1])
    assert told(store, one[1]) == [(2, "key.import"), (5, "key.rotate")]
    assert told(store, successor) == [(5, "key.rotate")]
