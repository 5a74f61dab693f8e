"""Services and keys that the tests of the contract share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service import Pair, Service


@pytest.fixture(scope="session")
def solo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker, so that every request meets the same cache and counters."""
    directory = tmp_path_factory.mktemp("solo")
    with Service(directory, LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="1") as running:
        yield running


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that lets three failures an hour pass, behind two proxies, with one worker.

    A test takes an address of its own by ``X-Forwarded-For``, so no test meets another's count.
    """
    with Service(
        tmp_path_factory.mktemp("strict"),
        LATCHKEY_FAILURE_LIMIT="3/hour",
        LATCHKEY_TRUSTED_PROXIES="2",
        LATCHKEY_WORKERS="1",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without registration and without proxies: three failures an hour, one worker."""
    with Service(
        tmp_path_factory.mktemp("closed"),
        LATCHKEY_FAILURE_LIMIT="3/hour",
        LATCHKEY_REGISTRATION="off",
        LATCHKEY_WORKERS="1",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def live(service: Service) -> Pair:
    """A live key with full access to the shared service; nobody revokes it."""
    return service.issue("live")


@pytest.fixture(scope="session")
def test(service: Service) -> Pair:
    """The same for test mode."""
    return service.issue("test")
