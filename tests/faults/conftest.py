"""One service for the faults of a module, run by a user who is subject to permissions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.faults.outage import SETTINGS
from tests.support.service import Service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that the tests of a module break and repair."""
    directory = tmp_path_factory.mktemp("faults")
    with Service(directory, unprivileged=True, **SETTINGS) as service:
        yield service
