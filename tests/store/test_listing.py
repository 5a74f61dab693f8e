"""How SQLite executes listings: by its indexes, or by one scan of the table."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from latchkey.credentials.accounts import AccountSelection
from latchkey.credentials.listing import (
    EXPIRING_WITHIN,
    UNUSED_AGE,
    Order,
    Selection,
)
from latchkey.credentials.models import MODES
from latchkey.store import listing
from latchkey.store.protocols import Store
from tests.support.store.listing_oracle import AS_OF, DAY, NAMES, is_selected
from tests.support.store.new_credentials import NOW, new_credential


def fill(database: Path, count: int) -> None:
    """Insert rows of every kind directly, with times on both sides of each bound."""
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
            " VALUES (?, ?, '', (SELECT id FROM account), ?, ?, '*', ?, ?, ?, ?, ?)",
            rows,
        )


@pytest.fixture
def plans(database: Path, store: Store) -> Callable[..., str]:
    """A function that returns SQLite's query plans for the statements of a call."""
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


def test_a_long_list_is_paged_by_an_index(
    database: Path, store: Store, plans: Callable[..., str], long: bool
) -> None:
    """Rows before the page are skipped in an index, or sorted with their numbers only."""
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
    # A search scans the table once in its own order, for every sort order.
    plan = plans(store.listing.page, Selection("beta"), Order("expires"), AS_OF, **last)
    assert "MATERIALIZE found" in plan, plan
    assert "credential USING INDEX" not in plan, plan
    # So does the page with its number, in the default order until enough rows are found.
    for selection in (
        Selection("beta"),
        Selection("50%"),
        Selection(mode="live", concern="unused"),
    ):
        for order in (Order(), Order("name")):
            plan = plans(store.listing.found, selection, order, AS_OF, limit=50)
            assert "MULTI-INDEX OR" not in plan, plan
            assert plan.count("SCAN credential") == 1, plan
            assert "credential_mode_id" not in plan, plan
    for selection in (Selection(status="active"), Selection(concern="unused")):
        assert "MULTI-INDEX OR" not in plans(store.listing.count, selection, AS_OF)
    searched = Selection("beta s")
    pages = [
        row.api_key
        for offset in range(0, store.listing.count(searched, AS_OF), 100)
        for row in store.listing.page(searched, Order("name"), AS_OF, limit=100, offset=offset)
    ]
    everything = store.page(None, count, None)
    assert sorted(pages) == sorted(row.api_key for row in everything if is_selected(row, searched))


def test_the_keys_of_an_account_are_paged_by_its_index(
    database: Path, store: Store, plans: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, 200)
    owned = Selection(account_id=store.accounts.instance().id)
    index = "USING COVERING INDEX ix_credential_account_id_mode_id (account_id=? AND mode=?"
    for selection in (owned, replace(owned, mode="test"), replace(owned, status="active")):
        for order in (Order("created"), Order("created", descending=False)):
            plan = plans(store.listing.page, selection, order, AS_OF, limit=50, offset=50)
            assert index in plan, plan
            assert "TEMP B-TREE" not in plan, plan
        plan = plans(store.listing.count, selection, AS_OF)
        assert "USING COVERING INDEX ix_credential_account_id_mode_id (account_id=?" in plan, plan
    plan = plans(lambda: next(store.listing.newest(owned, AS_OF, None)))
    assert index in plan, plan
    searched = replace(owned, search="beta")
    for order in (Order("name"), Order("created")):
        plan = plans(store.listing.page, searched, order, AS_OF, limit=50)
        assert "SEARCH credential USING INDEX ix_credential_account_id_mode_id" in plan, plan
    # A large account is searched in the order of the table.
    monkeypatch.setattr(listing, "_MANY", 100)
    for selection, order in ((searched, Order()), (owned, Order("name")), (owned, Order("status"))):
        plan = plans(store.listing.page, selection, order, AS_OF, limit=50)
        assert "MATERIALIZE found | SCAN credential" in plan.replace("\n", " | "), plan
    assert "SCAN credential" in plans(store.listing.count, searched, AS_OF)
    plan = plans(store.accounts.key_counts, [owned.account_id])
    assert "USING COVERING INDEX ix_credential_account_id_mode_id" in plan, plan


def test_a_long_list_of_accounts(
    database: Path, store: Store, plans: Callable[..., str], long: bool
) -> None:
    count = 100_000 if long else 2_000
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO account (id, name, external_id, created_at) VALUES (?, ?, ?, 0)",
            ((f"acct_{one:022}", f"account {one}", f"external-{one}") for one in range(count)),
        )
    everything = AccountSelection()
    assert store.accounts.count(everything) == count + 1
    last = store.accounts.page(everything, 50, offset=count - 49)
    assert last[-1].is_instance
    assert [one.name for one in last[:2]] == ["account 48", "account 47"]
    found = store.accounts.page(AccountSelection("NT 77"), 50)
    assert found == sorted(found, key=lambda one: -one.number)
    assert store.accounts.count(AccountSelection("NT 77")) == sum(
        f"account {one}".startswith("account 77") for one in range(count)
    )
    for selection in (everything, AccountSelection("x"), AccountSelection(status="disabled")):
        plan = plans(store.accounts.page, selection, 50, offset=50)
        assert "TEMP B-TREE" not in plan, plan
    plan = plans(store.accounts.find_external, "external-7")
    assert "SEARCH account USING INDEX" in plan, plan
