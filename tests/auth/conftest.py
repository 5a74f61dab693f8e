"""Workers for the tests of authentication, closed at the end of each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from latchkey import Latchkey
from latchkey.check.cache_levels import Backend
from tests.support.audited import audit_files
from tests.support.auth.plain_application import PlainApplication
from tests.support.auth.shared_box import SharedBox
from tests.support.auth.upkeep_box import UpkeepBox
from tests.support.auth.worker import BACKENDS, NewWorker, Worker
from tests.support.database import new_database


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each cache backend in turn."""
    named: Backend = request.param
    return named


@pytest.fixture
def new_worker(tmp_path: Path, backend: Backend) -> Iterator[NewWorker]:
    """Make workers over the test's backend, each with a database of its own.

    ``restarted=worker`` makes another over that one's database.
    """
    made: list[Worker] = []

    def make(restarted: Worker | None = None, **options: Any) -> Worker:
        path = restarted.path if restarted else tmp_path / f"latchkey-{len(made)}.db"
        made.append(Worker(path, backend=backend, fresh=restarted is None, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def worker(new_worker: NewWorker) -> Worker:
    """A worker over the test's backend."""
    return new_worker()


@pytest.fixture
def real_time_worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker that reads the system's clocks, as compiled code must."""
    with closing(Worker(tmp_path / "latchkey.db", real_time=True)) as worker:
        yield worker


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SharedBox]:
    """Workers that share one segment."""
    with closing(SharedBox(tmp_path)) as box:
        yield box


@pytest.fixture
def upkeep_box(tmp_path: Path) -> Iterator[UpkeepBox]:
    """A database with what its workers share, to flush and to replay."""
    with closing(UpkeepBox(tmp_path / "upkeep.db")) as box:
        yield box


@pytest.fixture
def plain() -> PlainApplication:
    """An application that remembers what it was called with."""
    return PlainApplication()


@pytest.fixture
def latchkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Latchkey]:
    """Built from the environment, as somebody's own service builds it."""
    monkeypatch.setenv("LATCHKEY_DATABASE_URL", new_database(tmp_path / "latchkey.db"))
    monkeypatch.setenv("LATCHKEY_DERIVATION_KEYS", "1f" * 32)
    for name, value in audit_files(tmp_path / "secrets").items():
        monkeypatch.setenv(name, value)
    latchkey = Latchkey.from_settings()
    yield latchkey
    latchkey.store.close()
