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
from tests.support.auth.limited_box import LimitedBox
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
    """Create workers with the test's backend, each with its own database.

    With ``restarted=worker``, the new worker uses that worker's database.
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
    """A worker with the test's backend."""
    return new_worker()


@pytest.fixture
def real_time_worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker that uses the system's clocks, as compiled code requires."""
    with closing(Worker(tmp_path / "latchkey.db", real_time=True)) as worker:
        yield worker


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SharedBox]:
    """Workers that share one segment."""
    with closing(SharedBox(tmp_path)) as box:
        yield box


@pytest.fixture(scope="module")
def limited_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedBox]:
    """A worker with one key, whose limits run by a clock of the test."""
    box = LimitedBox(tmp_path_factory.mktemp("limited") / "latchkey.db")
    yield box
    box.worker.close()


@pytest.fixture
def filled_buckets(limited_box: LimitedBox) -> None:
    """Fill all buckets: the rows belong to no test."""
    limited_box.fill_buckets()


@pytest.fixture
def upkeep_box(tmp_path: Path) -> Iterator[UpkeepBox]:
    """A database and the state that its workers share, for flushes and replays."""
    with closing(UpkeepBox(tmp_path / "upkeep.db")) as box:
        yield box


@pytest.fixture
def plain() -> PlainApplication:
    """An application that records its calls."""
    return PlainApplication()


@pytest.fixture
def latchkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Latchkey]:
    """Built from the environment, as in a service of one's own."""
    monkeypatch.setenv("LATCHKEY_DATABASE_URL", new_database(tmp_path / "latchkey.db"))
    monkeypatch.setenv("LATCHKEY_DERIVATION_KEYS", "1f" * 32)
    for name, value in audit_files(tmp_path / "secrets").items():
        monkeypatch.setenv(name, value)
    latchkey = Latchkey.from_settings()
    yield latchkey
    latchkey.store.close()
