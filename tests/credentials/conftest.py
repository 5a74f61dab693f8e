"""The service of credentials for each test, closed at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.credentials.office import Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """The service with its own database."""
    office = Office(tmp_path / "latchkey.db")
    yield office
    office.store.close()
