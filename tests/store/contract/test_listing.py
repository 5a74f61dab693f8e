"""Listings for a person, compared with the same query in Python."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from latchkey.credentials.accounts import NewAccount
from latchkey.credentials.callers import Author
from latchkey.credentials.listing import (
    CONCERNS,
    EXPIRING_WITHIN,
    LONGEST_SEARCH,
    SORTS,
    STATUSES,
    UNUSED_AGE,
    Order,
    Selection,
)
from latchkey.credentials.models import MODES, Credential, Rotation, Tally
from latchkey.store import listing
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, result_of, revoke, rotate
from tests.support.store.listing_oracle import AS_OF, DAY, NAMES, in_order, is_selected
from tests.support.store.new_credentials import NOW, new_credential

SELECTIONS = [
    Selection(None, mode, status, concern)
    for mode, status, concern in product((None, *MODES), (None, *STATUSES), (None, *CONCERNS))
]
ORDERS = list(product(SORTS, (True, False)))
SEARCHES = [
    Selection(search, mode, None, None)
    for mode in (None, "live")
    for search in ("BETA", "éclair", "ÉCLAIR S", "%", "_", "\\", "*", "?[", "]", "ak_TEST", "none")
]


ACCOUNT = "acct_" + "7" * 22
"""An account that owns some of the credentials."""


def fill(store: Store, count: int) -> None:
    """Credentials of every kind, with times on both sides of each bound."""
    draw = random.Random(20260115)
    customer = NewAccount(ACCOUNT, "customer", None, None, NOW)
    result_of(store.accounts.add(lambda caller: customer, Author(TESTER)))

    def around(*ages: timedelta) -> datetime | None:
        age = draw.choice((None, *ages))
        return age if age is None else NOW - age + timedelta(milliseconds=draw.choice((-1, 0, 1)))

    new = []
    for _ in range(count):
        name = draw.choice(NAMES)
        new.append(
            new_credential(
                mode=draw.choice(MODES),
                account_id=draw.choice((None, ACCOUNT)),
                name=name and name + draw.choice(("", " service", f" {draw.randrange(99)}")),
                created_at=around(30 * DAY, UNUSED_AGE, UNUSED_AGE + DAY) or NOW,
                expires_at=around(timedelta(milliseconds=2), -EXPIRING_WITHIN, -99 * DAY),
                origin="imported",
                derivation_id="",
            )
        )
    result_of(store.imported.add_all(new, lambda there: (), {}, TESTER, lambda done: None))
    added = store.page(None, count, None)
    used = []
    for one in added:
        successor = new_credential(
            mode=one.mode, created_at=one.created_at, account_id=one.account_id
        )
        if not draw.randrange(4):
            rotate(
                store,
                one.api_key,
                NOW,
                lambda found, former, new=successor: Rotation(new, found.expires_at),  # type: ignore[misc]
            )
        if not draw.randrange(3):
            revoke(store, one.api_key, NOW)
        if (last := around(DAY, UNUSED_AGE)) is not None:
            used.append(Tally(one.id, 1, round(last.timestamp() * 1000)))
    store.usage.flush("1" * 32, used, NOW)


@pytest.fixture
def rows(store: Store) -> list[Credential]:
    """A few hundred credentials, newest first."""
    fill(store, 300)
    return store.page(None, 1000, None)


def test_selections_and_orders(store: Store, rows: list[Credential]) -> None:
    for number, selection in enumerate(SELECTIONS + SEARCHES):
        expected = [row for row in rows if is_selected(row, selection)]
        assert store.listing.count(selection, AS_OF) == len(expected), selection
        # Each selection with some of the orders, and each order with many of the selections.
        for by, descending in ORDERS[number % 4 :: 4]:
            order = Order(by, descending)
            offset = number % 7
            page = store.listing.page(selection, order, AS_OF, limit=20, offset=offset)
            assert page == in_order(expected, order)[offset : offset + 20], (selection, order)


@pytest.mark.parametrize("many", [0, 1_000], ids=["large", "small"])
def test_selections_of_an_account(
    store: Store, rows: list[Credential], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(listing, "_MANY", many)
    for number, plain in enumerate((SELECTIONS + SEARCHES)[::3]):
        selection = replace(plain, account_id=ACCOUNT)
        expected = [row for row in rows if is_selected(row, selection)]
        assert store.listing.count(selection, AS_OF) == len(expected), selection
        assert list(store.listing.newest(selection, AS_OF, 20)) == expected[:20], selection
        for by, descending in ORDERS[number % 5 :: 5]:
            order = Order(by, descending)
            offset = number % 7
            page = store.listing.page(selection, order, AS_OF, limit=20, offset=offset)
            assert page == in_order(expected, order)[offset : offset + 20], (selection, order)
    assert store.listing.count(Selection(account_id="acct_" + "0" * 22), AS_OF) == 0


@pytest.mark.parametrize("many", [0, 1_000], ids=["large", "small"])
def test_a_page_with_the_number_of_all(
    store: Store, rows: list[Credential], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """With a search or a concern, only some are counted; with an order, the page stays the same."""
    monkeypatch.setattr(listing, "_MANY", many)
    for number, selection in enumerate(SELECTIONS + SEARCHES):
        if number % 3 == 0:
            selection = replace(selection, account_id=ACCOUNT)
        by, descending = ORDERS[number % len(ORDERS)]
        order, offset = Order(by, descending), number % 7
        expected = in_order([row for row in rows if is_selected(row, selection)], order)
        reads = selection.search is not None or selection.concern is not None
        for counted in (10, 1_000):
            found = store.listing.found(
                selection, order, AS_OF, limit=3, offset=offset, counted=counted
            )
            total = min(len(expected), counted) if reads else len(expected)
            assert (found.total, found.is_more) == (total, total < len(expected)), selection
            assert found.page == expected[offset : offset + 3], (selection, order)
        beyond = store.listing.found(selection, order, AS_OF, limit=3, offset=1_000)
        assert (beyond.page, beyond.total) == ([], len(expected)), selection


def test_every_concern_and_status_occurs(rows: list[Credential]) -> None:
    """Otherwise the comparison above would not cover them."""
    for selection in SELECTIONS:
        impossible = selection.concern is not None and selection.status in ("revoked", "expired")
        assert any(is_selected(row, selection) for row in rows) != impossible, selection
    assert {concern for row in rows for concern in AS_OF.concerns(row, None)} == set(CONCERNS)


def test_the_census_counts_each_once(store: Store, rows: list[Credential]) -> None:
    census = store.listing.census(AS_OF)
    for status in STATUSES:
        assert census.statuses[status] == store.listing.count(Selection(status=status), AS_OF)
    for concern in CONCERNS:
        assert census.concerns[concern] == store.listing.count(Selection(concern=concern), AS_OF)
    assert census.total == len(rows)


def test_a_census_of_nothing(store: Store) -> None:
    census = store.listing.census(AS_OF)
    assert census.total == 0
    assert set(census.concerns.values()) == {0}


def test_a_search_that_no_name_can_have(store: Store, rows: list[Credential]) -> None:
    assert store.listing.count(Selection("a" * LONGEST_SEARCH), AS_OF) == 0
    assert store.listing.count(Selection("a" * 100_000), AS_OF) == 0


def test_a_list_is_read_to_the_end(store: Store, rows: list[Credential]) -> None:
    selection = Selection(mode="live", status="active")
    expected = [row for row in rows if is_selected(row, selection)]
    assert list(store.listing.newest(selection, AS_OF, None)) == expected
    assert list(store.listing.newest(selection, AS_OF, 7)) == expected[:7]
    assert list(store.listing.newest(selection, AS_OF, 0)) == []


def test_credentials_added_while_a_list_is_read_are_not_in_it(store: Store) -> None:
    new = [new_credential(origin="imported", derivation_id="") for _ in range(1_100)]
    result_of(store.imported.add_all(new, lambda there: (), {}, TESTER, lambda done: None))
    found = store.listing.newest(Selection(), AS_OF, None)
    first = next(found)
    add(store, new_credential())
    assert [first.api_key, *(one.api_key for one in found)] == [one.api_key for one in new[::-1]]
