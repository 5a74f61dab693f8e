"""Fixtures for all tests: ``--long`` rounds, fresh settings, a running service."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.support.service import NewRows, Service
from tests.support.service_database import OnPostgresql

if TYPE_CHECKING:
    from tests.support.postgresql import Postgresql

# The duration of an example depends on the machine more than on the tested code.
settings.register_profile("bounded", deadline=None, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=400)
settings.load_profile("bounded")


# Tests that share services, a browser or a measurement, by the prefix of their node ids.
_SHARING = {
    "tests/api/": "services",
    "tests/browser/": "browser",
    "tests/benchmarks/test_method.py": "measurement",
    "tests/benchmarks/test_page.py": "measurement",
    "tests/benchmarks/test_run.py": "measurement",
}


# The longest modules and groups, which start first, so that no process ends with one of them.
_LONGEST = (
    *("tests/api/", "tests/browser/", "tests/integration/", "tests/pages/", "tests/packaging/"),
    *("tests/faults/", "tests/servers/", "tests/benchmarks/", "tests/examples/"),
    *("tests/test_documents.py", "tests/console/"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run at full figures")
    parser.addoption("--integration", action="store_true", help="collect tests/integration, too")
    parser.addoption(
        "--no-skips", action="store_true", help="fail where a test was skipped, as .ci/run does"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests that start PostgreSQL and proxies, except for ``--integration``."""
    if collection_path == INTEGRATION and not config.getoption("--integration"):
        return True
    return None


INTEGRATION = Path(__file__).parent / "integration"
_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30
_WRITTEN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Store temporary files in memory if there is room; they need not survive a power loss.

    Otherwise, tests wait for the disk at each of their many commits.
    """
    if config.getoption("--long"):
        settings.load_profile("long")
    # A shell ignores the signal for commands in the background, and the tests' processes would too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given = config.option.basetemp or "PYTEST_DEBUG_TEMPROOT" in os.environ
    with suppress(OSError):
        if not given and shutil.disk_usage(_MEMORY).free >= _ROOM:
            config.stash[_WRITTEN] = Path(tempfile.mkdtemp("", "latchkey-tests-", _MEMORY))
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(config.stash[_WRITTEN])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep temporary files only after a failure; with ``--no-skips``, skipped tests fail."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
    if exitstatus == 0 and _WRITTEN in session.config.stash:
        shutil.rmtree(session.config.stash[_WRITTEN], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude the collected tests from garbage collection, because they live until the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules; the others keep their order."""
    places = {begin: place for place, begin in enumerate(_LONGEST)}

    def place_of(item: pytest.Item) -> int:
        found = (place for begin, place in places.items() if item.nodeid.startswith(begin))
        return next(found, len(places))

    items.sort(key=place_of)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process complete modules, and modules that share fixtures together."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByWhatIsShared(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            shared = [what for begin, what in _SHARING.items() if nodeid.startswith(begin)]
            return shared[0] if shared else str(super()._split_scope(nodeid))

    return ByWhatIsShared(config, log)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report skipped browser tests, and where temporary files were kept."""
    if _WRITTEN in config.stash and config.stash[_WRITTEN].exists():
        terminalreporter.write_line(f"what the tests wrote is kept in {config.stash[_WRITTEN]}")
    skipped = terminalreporter.stats.get("skipped", [])
    browser = [report for report in skipped if report.nodeid.startswith("tests/browser/")]
    if browser:
        terminalreporter.write_line(
            f"{len(browser)} browser tests did not run: there is no chromium "
            "(apt-get install chromium-headless-shell, or chromium)",
            yellow=True,
        )


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether tests run with the full number of rounds (``make test-long``)."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session", autouse=True)
def nothing_left_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove the memory of services whose processes were all killed, after the last test.

    A stopped service must remove its memory itself; tests check that.
    """
    yield
    for record in tmp_path_factory.getbasetemp().rglob("*-service"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            Path(json.loads(record.read_bytes())["segment"]).unlink()


@pytest.fixture(scope="session")
def new_rows(request: pytest.FixtureRequest) -> NewRows:
    """Databases for the shared services: on PostgreSQL with ``--integration``."""
    if not request.config.getoption("--integration"):
        return lambda: None
    server = request.getfixturevalue("postgresql")
    return lambda: OnPostgresql(server, server.new_migrated_database())


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, new_rows: NewRows) -> Iterator[Service]:
    """One running service for all tests that do not change it: real gunicorn, real database.

    It has one worker, so that a test knows which worker responds, and no failure limit, so that
    tests of refusals do not get each other's 429.
    """
    directory = tmp_path_factory.mktemp("service")
    with Service(
        directory, on=new_rows(), LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="1"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One running PostgreSQL for all tests that do not stop it; skips where it is missing."""
    # Imported here, because not all test runs have the driver.
    pytest.importorskip("psycopg")
    from tests.support.postgresql import programs, started

    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with started() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: Postgresql) -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own, with the tables and without rows."""
    name = postgresql.new_migrated_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The settings, the database and the keys of a service that does not run."""
    prepared = Service(tmp_path_factory.mktemp("box"))
    prepared.initialize()
    return prepared


@pytest.fixture(scope="module")
def running_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two workers and no failure limit, which runs when a module begins."""
    with Service(tmp_path_factory.mktemp("running"), LATCHKEY_FAILURE_LIMIT="off") as running:
        yield running


@pytest.fixture(scope="module")
def resting_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker and no failure limit, which runs only if a test starts it."""
    directory = tmp_path_factory.mktemp("resting")
    made = Service(directory, LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="1")
    made.initialize()
    yield made
    made.stop()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services for one test, each in its own directory; they are stopped at its end.

    Call it with settings (``LATCHKEY_WORKERS="1"``), ``name=`` for a second service, and
    ``unprivileged=`` if file permissions must apply.
    """
    started: list[Service] = []

    def start(name: str = "service", unprivileged: bool = False, **settings: str) -> Service:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        running = Service(directory, unprivileged=unprivileged, on=None, **settings)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()
