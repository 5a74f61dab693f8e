"""The stores that must meet the contract. A further one needs an entry in ``OPENERS``.

With ``--integration``, the suite runs on PostgreSQL instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_at
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from latchkey.store.protocols import Store
from tests.support.audited import new_seal
from tests.support.database import new_database
from tests.support.store.new_credentials import NewStore

Opener = Callable[..., Store]
"""Opens another store with the same database, with a seal and a ``write_timeout`` in seconds."""


def _over_sqlite(directory: Path) -> Opener:
    return _over_url(new_database(directory / "latchkey.db"))


def _over_url(url: str) -> Opener:
    database = database_at(url)

    def opened(seal: Seal | None, **options: Any) -> Store:
        return database.open_store(seal=seal, **options)

    return opened


def _over_memory(directory: Path) -> Opener:
    database = MemoryDatabase()

    def opened(seal: Seal | None, **options: Any) -> Store:
        return open_memory_store(database, seal, several_boxes=True, **options)

    return opened


OPENERS: dict[str, Callable[[Path], Opener]] = {"memory": _over_memory, "sqlite": _over_sqlite}
OF_ONE_BOX = {"sqlite"}
"""The stores that only one box can use."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_integration = metafunc.config.getoption("--integration")
    kinds = {"postgresql"} if is_integration else OPENERS.keys()
    for fixture, of_fixture in (("new_store", kinds), ("new_shared_store", kinds - OF_ONE_BOX)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, sorted(of_fixture), indirect=True)


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    """The key of the audit log, and the file of its head."""
    return new_seal(tmp_path / "latchkey.db")


@pytest.fixture
def new_store(request: pytest.FixtureRequest, tmp_path: Path, seal: Seal) -> Iterator[NewStore]:
    """Create stores with one database, as in several processes; ``sealed`` unless False."""
    yield from _stores(_opener(request, tmp_path), seal)


@pytest.fixture
def new_shared_store(
    request: pytest.FixtureRequest, tmp_path: Path, seal: Seal
) -> Iterator[NewStore]:
    """The same, only stores that several boxes can use."""
    yield from _stores(_opener(request, tmp_path), seal)


def _opener(request: pytest.FixtureRequest, directory: Path) -> Opener:
    if request.param == "postgresql":
        return _over_url(request.getfixturevalue("postgresql_url"))
    return OPENERS[request.param](directory)


def _stores(opener: Opener, seal: Seal) -> Iterator[NewStore]:
    made: list[Store] = []

    def make(*, sealed: bool = True, **options: Any) -> Store:
        made.append(opener(seal if sealed else None, **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(new_store: NewStore) -> Store:
    """A store with an empty database."""
    return new_store()
