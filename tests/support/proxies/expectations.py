"""The sites of a table of cases, and what is expected of every answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.proxies.programs import Program
from tests.support.proxies.site import Answer, Headers, Site
from tests.support.proxies.upstream import Received, Upstream
from tests.support.service import Pair, Service

IDENTITY = ("key", "account", "external-id", "mode", "scopes", "metadata")
NEEDS = "scope=orders:read&preflight=pass&cost=2"
"""What the second site of each proxy needs."""

# The same needs in a routes file, for the proxy that can name none in its URL.
_ROUTES = """\
[[rule]]
method = "OPTIONS"
path = "/**"
open = true

[[rule]]
path = "/**"
scopes = ["orders:read"]
cost = 2
"""
PREFLIGHT = (("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "GET"))


@dataclass(frozen=True)
class Outcomes:
    """Where proxies differ: the statuses that clients see.

    ``paths`` has the outcome of unusual targets that are not simply passed to Latchkey: the status,
    and the target that the application receives for 200.
    """

    failed: int = 500
    """The database of Latchkey fails."""
    stopped: int = 503
    """Latchkey does not answer."""
    has_envelope: bool = True
    """Whether the answer is in the envelope if Latchkey does not answer."""
    other_host: int = 421
    """Another host name than the configured one."""
    other_authority: int = 421
    """Another host name in a target in the absolute form, and the configured one in ``Host``."""
    two_hosts: int = 400
    """Two headers with host names."""
    tells_limits: bool = True
    """Whether clients are told what remains, with answers of the application."""
    paths: dict[str, tuple[int, str]] = field(default_factory=dict)


def bearer(pair: Pair) -> Headers:
    """The headers of the bearer scheme."""
    return list(pair.bearer.items())


def alias(name: str, character: str) -> str:
    """Another name that many applications read as the same variable."""
    return name.replace("-", character)


def variable(name: str) -> str:
    """The variable as which CGI, WSGI and PHP present a header."""
    return re.sub("[^A-Z0-9]", "_", name.upper())


def assert_refused(answer: Answer, status: int, code: str) -> None:
    """The refusal is in the envelope, and the application received nothing."""
    assert (answer.status, answer.code.lower()) == (status, code), (answer.body, answer.headers)
    assert answer.received == ()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    challenges = answer.headers.get_all("WWW-Authenticate", [])
    assert len(challenges) == 1 if status == 401 else len(challenges) <= 1
    assert all(challenge.startswith('Bearer realm="latchkey"') for challenge in challenges)
    # What only the proxy reads stays between both.
    assert not [name for name in answer.headers if "latchkey" in name.lower()]


def assert_admitted(answer: Answer, key: str) -> Received:
    """The application received the request, with this identity and no other one."""
    assert answer.status == 200, (answer.status, answer.body)
    received = answer.passed
    assert received.value("X-Latchkey-Key") == key
    given = {variable(f"X-Latchkey-{name}"): f"x-latchkey-{name}" for name in IDENTITY}
    for name, _ in received.headers:
        if "latchkey" in name.lower():
            assert given.pop(variable(name)) == name.lower()
    return received


class Sites:
    """Two services and two sites, which the tests of a class share."""

    program: Program
    outcomes = Outcomes()

    def assert_target_refused(self, answer: Answer, target: str) -> None:
        """Latchkey refused the target, unless ``paths`` says what the proxy makes of it."""
        if target not in self.outcomes.paths:
            assert (answer.status, answer.code.lower()) == (400, "invalid_request"), answer.body
            assert answer.received == ()
            return
        status, passed = self.outcomes.paths[target]
        assert (answer.status, [one.target for one in answer.received]) == (
            status,
            [passed] if passed else [],
        )

    @pytest.fixture(scope="class")
    @classmethod
    def upstream(cls) -> Iterator[Upstream]:
        with Upstream() as upstream:
            yield upstream

    @pytest.fixture(scope="class")
    @classmethod
    def served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
        directory = tmp_path_factory.mktemp("service")
        with Service(directory, LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="2") as service:
            yield service

    @pytest.fixture(scope="class")
    @classmethod
    def site(
        cls, tmp_path_factory: pytest.TempPathFactory, served: Service, upstream: Upstream
    ) -> Iterator[Site]:
        """The shipped configuration, which needs any valid key."""
        if cls.program.path is None:
            pytest.skip(f"needs {cls.program.name}")
        with Site(cls.program, tmp_path_factory.mktemp("site"), served, upstream) as site:
            yield site

    @pytest.fixture(scope="class")
    @classmethod
    def needing(
        cls, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
    ) -> Iterator[Site]:
        """A site that needs a scope, lets preflights pass, and has a limit of failures."""
        if cls.program.path is None:
            pytest.skip(f"needs {cls.program.name}")
        directory = tmp_path_factory.mktemp("needing")
        needing = Service(directory, LATCHKEY_FAILURE_LIMIT="5/day", LATCHKEY_WORKERS="1")
        if cls.program.name == "envoy":
            (directory / "routes.toml").write_text(_ROUTES)
            needing.settings["LATCHKEY_VERIFY_ROUTES"] = str(directory / "routes.toml")
        with needing as service:
            with Site(cls.program, directory / "site", service, upstream, NEEDS) as site:
                yield site

    @pytest.fixture(scope="class")
    @classmethod
    def key(cls, served: Service) -> Pair:
        """A valid key without conditions, external id and metadata."""
        return served.issue(scopes=["account:read", "orders:read:eu-1"])

    @pytest.fixture(scope="class")
    @classmethod
    def confined(cls, served: Service) -> Pair:
        """A key for the paths below /allowed/ only."""
        return served.issue(endpoints=["* /allowed/**"])
