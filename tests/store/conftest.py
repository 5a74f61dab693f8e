"""Stores over migrated databases, closed at the end of each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials.models import NewCredential
from latchkey.store import Store
from tests.audited import open_store
from tests.database import new_database

NewStore = Callable[..., Store]

NOW = datetime(2026, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)

_numbers = itertools.count()


def new_credential(**fields: Any) -> NewCredential:
    """A credential that differs from every other in its key, with the given fields."""
    number = next(_numbers)
    complete = {
        "api_key": f"ak_{fields.get('mode', 'live')}_{number:022}",
        "secret_hash": number.to_bytes(32),
        "derivation_id": "0123456789abcdef",
        "account_id": f"acct_{number:022}",
        "mode": "live",
        "name": "test",
        "scopes": frozenset({"*"}),
        "created_at": NOW,
        "expires_at": None,
        **fields,
    }
    return NewCredential(**complete)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A migrated, empty database."""
    path = tmp_path / "latchkey.db"
    new_database(path)
    return path


@pytest.fixture
def new_store(database: Path) -> Iterator[NewStore]:
    """Make stores over the test's database; options as for ``Store``."""
    made: list[Store] = []

    def make(**options: Any) -> Store:
        made.append(open_store(f"sqlite:///{database}", **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(new_store: NewStore) -> Store:
    """A store over the test's database."""
    return new_store()
