"""What every test can ask for: the ``--long`` figures, fresh settings, a running service."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.service import Service

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


# What shares services, a browser, or a measurement, by how the names of its tests begin.
_SHARING = {
    "tests/api/": "services",
    "tests/browser/": "browser",
    "tests/benchmarks/test_method.py": "measurement",
    "tests/benchmarks/test_page.py": "measurement",
    "tests/benchmarks/test_run.py": "measurement",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run at the figures that the issues name")
    parser.addoption(
        "--no-skips", action="store_true", help="fail where a test was skipped, as .ci/run does"
    )


_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30
_WRITTEN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Have what tests write kept in memory where there is room: none of it outlives the power.

    Else they wait for the disk, at each of the many commits.
    """
    given = config.option.basetemp or "PYTEST_DEBUG_TEMPROOT" in os.environ
    with suppress(OSError):
        if not given and shutil.disk_usage(_MEMORY).free >= _ROOM:
            config.stash[_WRITTEN] = Path(tempfile.mkdtemp("", "latchkey-tests-", _MEMORY))
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(config.stash[_WRITTEN])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep it where a test failed only; with ``--no-skips``, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
    if exitstatus == 0 and _WRITTEN in session.config.stash:
        shutil.rmtree(session.config.stash[_WRITTEN], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave the thousands of tests, which stay to the end, out of every later collection."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole modules, and together those that share what they started."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByWhatIsShared(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            shared = [what for begin, what in _SHARING.items() if nodeid.startswith(begin)]
            return shared[0] if shared else str(super()._split_scope(nodeid))

    return ByWhatIsShared(config, log)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say clearly where the browser tests did not run, and where what tests wrote is kept."""
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
    """Whether tests run at their full figures (``make test-long``) or in bounded rounds."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session", autouse=True)
def nothing_left_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away the memory of services whose every process a test killed, when all tests are done.

    Not where a service is stopped: whether it leaves anything is for tests to see.
    """
    yield
    for record in tmp_path_factory.getbasetemp().rglob("*-service"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            Path(json.loads(record.read_bytes())["segment"]).unlink()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running service for every test that leaves it as it was: real gunicorn, real SQLite.

    One worker, so that a test knows which one answers; no failure limit, so that tests of refusals
    do not meet each other's 429.
    """
    directory = tmp_path_factory.mktemp("service")
    with Service(directory, LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="1") as running:
        yield running


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The settings, the database and the keys of a service that does not run."""
    prepared = Service(tmp_path_factory.mktemp("box"))
    prepared.initialize()
    return prepared


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services of a test's own, each in its directory; they are stopped at its end.

    Call it with settings (``LATCHKEY_WORKERS="1"``), ``name=`` for a second one,
    and ``unprivileged=`` where permissions are to count.
    """
    started: list[Service] = []

    def start(name: str = "service", unprivileged: bool = False, **settings: str) -> Service:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        running = Service(directory, unprivileged=unprivileged, **settings)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()
