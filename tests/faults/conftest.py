"""One service for the faults of a module, run by a user whom permissions stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service import Service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that the tests of a module break and mend.

    One worker: what is cached in it is cached for every request. Threads enough that requests
    which wait for a lock do so at the same time.
    """
    directory = tmp_path_factory.mktemp("faults")
    settings = {
        "LATCHKEY_WORKERS": "1",
        "LATCHKEY_THREADS": "16",
        "LATCHKEY_FAILURE_LIMIT": "off",
    }
    with Service(directory, unprivileged=True, **settings) as service:
        yield service
