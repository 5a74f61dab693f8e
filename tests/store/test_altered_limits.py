"""Limits that were altered by other means: no check ignores them, and nothing is restored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.credentials.limits import quota_limit, rate_limit
from latchkey.errors import StoreError
from latchkey.store.protocols import Store
from latchkey.store.sqlite.restore import carry_over_from
from tests.support.audited import add
from tests.support.database import new_database
from tests.support.store.new_credentials import NOW, new_credential

LIMITS = (rate_limit("100/minute"), quota_limit("monthly", 1000, "month"))


def alter(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credential SET limits = 'none'",
        "UPDATE credential SET limits = '[{}]'",
        "UPDATE credential SET limits = x'00'",
        "UPDATE credential SET limits = replace(limits, '100/minute', '100/era')",
        "UPDATE credential SET limits = replace(limits, '1000', '-1')",
        "UPDATE account SET limits = '[]'",
        "UPDATE account SET limits = '{}'",
        "UPDATE credential SET limits_of = 77",
    ],
)
def test_a_key_is_not_found_without_its_limits(
    store: Store, database: Path, statement: str
) -> None:
    made = add(store, new_credential(limits=LIMITS))
    alter(database, statement)
    for read in (store.verifier, store.find):
        with pytest.raises(StoreError, match="a row cannot be read"):
            read(made.api_key)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credential SET limits = 'none'",
        "UPDATE account SET limits = '[]'",
        "UPDATE limit_state SET definition = '{}'",
        "UPDATE limit_state SET period_start = 'now'",
    ],
)
def test_nothing_is_restored_without_limits(
    store: Store, database: Path, tmp_path: Path, statement: str
) -> None:
    made = add(store, new_credential(limits=LIMITS))
    alter(database, statement)
    restored = tmp_path / "restored.db"
    new_database(restored)
    with pytest.raises(sqlite3.DataError, match="a row cannot be read"):
        carry_over_from(database, restored, lambda one, other: True, lambda one, other: False, NOW)
    with closing(sqlite3.connect(restored)) as connection:
        keys = connection.execute(
            "SELECT count(*) FROM credential WHERE api_key = ?", [made.api_key]
        )
        assert keys.fetchall() == [(0,)]
