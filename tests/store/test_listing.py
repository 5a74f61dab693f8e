"""Listings as a person asks for them, held against the same question asked of Python."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from latchkey.credentials.listing import (
    CONCERNS,
    EXPIRING_WITHIN,
    LONGEST_SEARCH,
    SORTS,
    STATUSES,
    UNUSED_AGE,
    AsOf,
    Order,
    Selection,
)
from latchkey.credentials.models import MODES, Credential
from latchkey.store.protocols import Store
from tests.support.store.new_credentials import NOW, new_credential

DAY = timedelta(days=1)
AS_OF = AsOf(NOW, rotation_age=30 * DAY)
NAMES = ("alpha", "Beta", "beta", "Éclair", "50%", "under_score", "back\\slash", "a*b?[c]", None)


def fill(database: Path, count: int) -> None:
    """Rows of every kind, written beside the store: times lie on both sides of each bound."""
    draw = random.Random(20260115)
    milliseconds = round(NOW.timestamp() * 1000)

    def around(*ages: timedelta) -> int | None:
        age = draw.choice((None, *ages))
        if age is None:
            return None
        return milliseconds - round(age.total_seconds() * 1000) + draw.choice((-1, 0, 1))

    rows = []
    for _ in range(count):
        new = new_credential(mode=draw.choice(MODES))
        name = draw.choice(NAMES)
        rows.append(
            (
                new.api_key,
                new.secret_hash,
                new.mode,
                name and name + draw.choice(("", " service", f" {draw.randrange(99)}")),
                around(30 * DAY, UNUSED_AGE, UNUSED_AGE + DAY) or milliseconds,
                around(timedelta(milliseconds=2), -EXPIRING_WITHIN, -99 * DAY),
                draw.choice((None, None, milliseconds)),
                draw.choice((None, None, None, "ak_live_successor")),
                around(DAY, UNUSED_AGE),
            )
        )
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO credential (api_key, secret_hash, derivation_id, account_id, mode, name,"
            " scopes, created_at, expires_at, revoked_at, rotated_to, last_used_at)"
            " VALUES (?, ?, '', '', ?, ?, '*', ?, ?, ?, ?, ?)",
            rows,
        )


@pytest.fixture
def rows(database: Path, store: Store) -> list[Credential]:
    """A few hundred credentials, newest first."""
    fill(database, 300)
    return store.page(None, 1000, None)


def is_selected(row: Credential, selection: Selection) -> bool:
    """The oracle of a selection."""
    search = selection.search
    return (
        selection.mode in (None, row.mode)
        and selection.status in (None, row.status(NOW))
        and (
            selection.concern is None or selection.concern in AS_OF.concerns(row, row.last_used_at)
        )
        and (
            search is None
            or search.lower() in (row.name or "").lower()
            or search.lower() in row.api_key.lower()
        )
    )


def in_order(rows: list[Credential], order: Order) -> list[Credential]:
    """The oracle of an order; ``rows`` are newest first."""
    if order.by == "created":
        return rows if order.descending else rows[::-1]
    keys: dict[str, Callable[[Credential], Any]] = {
        # As SQLite compares them: ASCII letters in any case, the others by their bytes.
        "name": lambda row: row.name and row.name.encode().lower(),
        "last_used": lambda row: row.last_used_at,
        "expires": lambda row: row.expires_at,
        "status": lambda row: STATUSES.index(row.status(NOW)),
    }
    key = keys[order.by]
    rows = rows if order.descending else rows[::-1]
    valued = [row for row in rows if key(row) is not None]
    # Python keeps equal ones in their order also when it reverses.
    valued.sort(key=key, reverse=order.descending)
    return valued + [row for row in rows if key(row) is None]


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


def test_selections_and_orders(store: Store, rows: list[Credential]) -> None:
    for number, selection in enumerate(SELECTIONS + SEARCHES):
        expected = [row for row in rows if is_selected(row, selection)]
        assert store.listing.count(selection, AS_OF) == len(expected), selection
        # Each selection in some of the orders, and each order with many of the selections.
        for by, descending in ORDERS[number % 4 :: 4]:
            order = Order(by, descending)
            offset = number % 7
            page = store.listing.page(selection, order, AS_OF, limit=20, offset=offset)
            assert page == in_order(expected, order)[offset : offset + 20], (selection, order)


def test_every_concern_and_status_occurs(rows: list[Credential]) -> None:
    """What the comparison above would otherwise not show."""
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


@pytest.fixture
def plans(database: Path, store: Store) -> Callable[..., str]:
    """How SQLite goes about the statements of a call."""
    statements: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    def plan(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
        statements.clear()
        event.listen(Engine, "before_cursor_execute", note)
        try:
            call(*arguments, **options)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        with closing(sqlite3.connect(database)) as connection:
            return "\n".join(
                row[3]
                for statement, parameters in statements
                for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )

    return plan


def test_a_long_list_is_paged_through_by_an_index(
    database: Path, store: Store, plans: Callable[..., str], long: bool
) -> None:
    """What is not on the page is passed over in an index, or sorted by its number alone."""
    count = 100_000 if long else 2_000
    fill(database, count)
    last: dict[str, Any] = {"limit": 50, "offset": count - 50}
    orders = {"created": "SCAN credential", "name": "ix_credential_name"}
    orders["expires"] = "ix_credential_expires_at"
    for by, way in orders.items():
        for descending in (True, False):
            order = Order(by, descending)  # type: ignore[arg-type]
            plan = plans(store.listing.page, Selection(), order, AS_OF, **last)
            assert way in plan, plan
            if by == "created":
                assert "TEMP B-TREE" not in plan, plan
            assert "SEARCH credential USING INTEGER PRIMARY KEY (rowid=?)" in plan, plan
    filtered = Selection(status="expired")
    plan = plans(store.listing.page, filtered, Order("name"), AS_OF, **last)
    assert "USING COVERING INDEX ix_credential_name" in plan, plan
    plan = plans(store.listing.count, filtered, AS_OF)
    assert "USING COVERING INDEX" in plan, plan
    # A search reads the table once, in its own order, whatever the order asked for.
    plan = plans(store.listing.page, Selection("beta"), Order("expires"), AS_OF, **last)
    assert "MATERIALIZE found" in plan, plan
    assert "USING INDEX" not in plan, plan
    searched = Selection("beta s")
    pages = [
        row.api_key
        for offset in range(0, store.listing.count(searched, AS_OF), 100)
        for row in store.listing.page(searched, Order("name"), AS_OF, limit=100, offset=offset)
    ]
    everything = store.page(None, count, None)
    assert sorted(pages) == sorted(row.api_key for row in everything if is_selected(row, searched))


def test_a_mark_follows_the_last_use_that_is_only_counted() -> None:
    """The page marks by the last request; the filter by what is written down."""

    def credential(**times: datetime | None) -> Credential:
        fields = {"created_at": NOW - 100 * DAY, "expires_at": None, "last_used_at": None, **times}
        return Credential(
            id=1,
            api_key="ak_live_0",
            secret_hash=bytes(32),
            derivation_id="",
            account_id="",
            mode="live",
            name=None,
            scopes=frozenset({"*"}),
            revoked_at=None,
            rotated_to=None,
            original_expires_at=None,
            first_used_at=None,
            **fields,  # type: ignore[arg-type]
        )

    assert AS_OF.concerns(credential(), None) == ["due", "unused"]
    assert AS_OF.concerns(credential(), NOW) == ["due"]
    ending = credential(created_at=NOW, expires_at=NOW + DAY)
    assert AS_OF.concerns(ending, None) == ["expiring"]
