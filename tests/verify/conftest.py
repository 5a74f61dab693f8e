"""A service with a routes file, behind two proxies, that throttles failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service import Pair, Service

RULES = """
[[rule]]
path = "/open/**"
open = true

[[rule]]
method = ["GET", "POST"]
host = "api.example.com"
path = "/orders/**"
scopes = ["orders:read"]

[[rule]]
path = "/bulk/**"
scopes = ["orders:read"]
cost = 3

[[rule]]
path = "/trial"
mode = "test"
"""


@pytest.fixture(scope="session")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """It has one worker. Each test that fails on purpose uses its own address."""
    directory = tmp_path_factory.mktemp("ruled")
    (directory / "routes.toml").write_text(RULES)
    with Service(
        directory,
        LATCHKEY_VERIFY_ROUTES="routes.toml",
        LATCHKEY_TRUSTED_PROXIES="2",
        LATCHKEY_FAILURE_LIMIT="3/day",
        LATCHKEY_WORKERS="1",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def reader(ruled: Service) -> Pair:
    """A live key of that service."""
    return ruled.issue("live", scopes=["orders:read"])
