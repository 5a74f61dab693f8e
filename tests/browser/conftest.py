"""One browser and one service for all tests of the package; each test has its own profile.

Both end with the package, because the browser runs an event loop in this process, which other tests
need too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser.chromium import CHROMIUM, Visit, chromium
from tests.support.console.visitor import make_administrator
from tests.support.service import Service

NewVisit = Callable[..., Visit]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        for item in items:
            if "browser" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="there is no chromium"))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the administrator ada, without a limit on sign-ins."""
    directory = tmp_path_factory.mktemp("browser")
    with Service(directory, LATCHKEY_SIGN_IN_LIMIT="off", LATCHKEY_WORKERS="2") as running:
        make_administrator(running)
        yield running


@pytest.fixture
def new_visit(browser: Browser, console: Service) -> Iterator[NewVisit]:
    """Open the console in the browser, with options of a browser context. Faults fail the test."""
    opened: list[Visit] = []

    def open_visit(**options: Any) -> Visit:
        opened.append(Visit(browser, console, **options))
        return opened[-1]

    yield open_visit
    for visit in opened:
        visit.close()
    assert [fault for visit in opened for fault in visit.faults] == []


@pytest.fixture
def visit(new_visit: NewVisit) -> Visit:
    """A visitor who is not signed in."""
    return new_visit()


@pytest.fixture
def ada(new_visit: NewVisit) -> Visit:
    """The administrator, signed in."""
    signed_in = new_visit()
    signed_in.sign_in()
    return signed_in
