"""Services and keys that the tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service import NewRows, Pair, Service


@pytest.fixture(scope="session")
def solo(tmp_path_factory: pytest.TempPathFactory, new_rows: NewRows) -> Iterator[Service]:
    """A service with one worker, so that all requests use the same cache and counters."""
    directory = tmp_path_factory.mktemp("solo")
    with Service(
        directory, on=new_rows(), LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="1"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory, new_rows: NewRows) -> Iterator[Service]:
    """A service with one worker behind two proxies, which allows three failures a day.

    Each test uses its own address in ``X-Forwarded-For``, so that tests do not share counts.
    """
    with Service(
        tmp_path_factory.mktemp("strict"),
        on=new_rows(),
        LATCHKEY_FAILURE_LIMIT="3/day",
        LATCHKEY_TRUSTED_PROXIES="2",
        LATCHKEY_WORKERS="1",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory, new_rows: NewRows) -> Iterator[Service]:
    """A service with one worker, without registration and proxies: three failures a day."""
    with Service(
        tmp_path_factory.mktemp("closed"),
        on=new_rows(),
        LATCHKEY_FAILURE_LIMIT="3/day",
        LATCHKEY_REGISTRATION="off",
        LATCHKEY_WORKERS="1",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def live(service: Service) -> Pair:
    """A live key with full access to the shared service, which no test revokes."""
    return service.issue("live")


@pytest.fixture(scope="session")
def test(service: Service) -> Pair:
    """The same for test mode."""
    return service.issue("test")
