"""Stores with migrated databases, closed at the end of each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from latchkey.store.protocols import Store
from tests.support.audited import open_store
from tests.support.database import new_database
from tests.support.store.audit_box import AuditBox
from tests.support.store.new_credentials import NewStore


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A migrated, empty database."""
    path = tmp_path / "latchkey.db"
    new_database(path)
    return path


@pytest.fixture
def new_store(database: Path) -> Iterator[NewStore]:
    """Create stores with the test's database; options as for ``Store``."""
    made: list[Store] = []

    def make(**options: Any) -> Store:
        made.append(open_store(f"sqlite:///{database}", **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(new_store: NewStore) -> Store:
    """A store with the test's database."""
    return new_store()


@pytest.fixture
def audit_box(database: Path) -> Iterator[AuditBox]:
    """An audit log with some rows."""
    with closing(AuditBox(database)) as box:
        yield box
