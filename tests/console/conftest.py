"""A service with an administrator, for tests of the console that do not change them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.console.visitor import Visitor, make_administrator
from tests.support.service import Service


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two workers and the administrator ada, without a limit on sign-ins."""
    directory = tmp_path_factory.mktemp("console")
    with Service(directory, LATCHKEY_SIGN_IN_LIMIT="off") as running:
        make_administrator(running)
        yield running


@pytest.fixture
def visitor(console: Service) -> Visitor:
    """A client that is not signed in."""
    return Visitor(console)


@pytest.fixture(scope="module")
def ada(console: Service) -> Visitor:
    """The administrator, signed in once for all tests of a module."""
    signed_in = Visitor(console)
    assert signed_in.sign_in().status == 303
    return signed_in
