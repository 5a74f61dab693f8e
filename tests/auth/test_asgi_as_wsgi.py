"""The ASGI middleware answers every request as the WSGI middleware does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from latchkey import Latchkey, OpenRoutes
from latchkey.asgi import LatchkeyMiddleware
from latchkey.credentials.conditions import ConditionTerms, parse_endpoints, parse_networks
from tests.support.audited import TESTER
from tests.support.auth.asgi_calls import AsgiApplication, asked
from tests.support.auth.plain_application import PlainApplication, call
from tests.support.auth.worker import api_key

OPEN = OpenRoutes({("GET", "/open"), ("OPTIONS", "/any"), ("GET", "/é")}, areas=("/docs/",))
ONLY = ("/v1/", "/any/", "/open/", "/docs/", "/é/")
NETWORKS = ConditionTerms(networks=parse_networks(["192.0.2.0/24", "2001:db8::/32"]))
ENDPOINTS = ConditionTerms(endpoints=parse_endpoints(["GET /any", "POST /v1/*", "* /é/**"]))


@pytest.fixture(autouse=True, params=["0", "1"], ids=["no proxy", "a proxy"])
def _proxies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_FAILURE_LIMIT", "off")
    monkeypatch.setenv("LATCHKEY_TRUSTED_PROXIES", request.param)


class Both:
    """One Latchkey behind both kinds of middleware, and credentials of all kinds."""

    def __init__(self, latchkey: Latchkey) -> None:
        self.wsgi_app, self.asgi_app = PlainApplication(), AsgiApplication()
        terms: dict[str, Any] = {"only": ONLY, "modes": {"live"}}
        self.wsgi = latchkey.middleware(self.wsgi_app, OPEN, **terms)
        self.asgi = LatchkeyMiddleware(self.asgi_app, latchkey, OPEN, **terms)

        def issue(**more: Any) -> str:
            return latchkey.credentials.issue(name="x", caller=None, by=TESTER, **more).secret

        good, revoked = issue(), issue()
        latchkey.credentials.revoke(api_key(revoked), None, by=TESTER)
        self.secrets = [
            *(good, revoked, issue(mode="test")),
            *(issue(conditions=NETWORKS), issue(conditions=ENDPOINTS)),
            *(good[:-1] + "!", good[:-1], f"{good}x", "", "é", "sk_live_\xff"),
        ]

    def compare(
        self, method: str, path: str, headers: list[tuple[str, str]], peer: str = "192.0.2.7"
    ) -> int:
        """Send the same request to both, and compare everything; returns the status."""
        self.wsgi_app.environs.clear()
        self.asgi_app.scopes.clear()
        # As gunicorn creates an environ: without names that have an underscore, repeated ones
        # joined, a path as bytes.
        joined: dict[str, str] = {}
        for name, value in headers:
            if "_" not in name:
                key = name.lower()
                joined[key] = f"{joined[key]},{value}" if key in joined else value
        by_wsgi = call(self.wsgi, path.encode().decode("latin-1"), joined, method, peer)
        by_asgi = asked(self.asgi, path, headers, method, peer=peer)
        assert by_asgi.status == by_wsgi.status
        assert by_asgi.body == by_wsgi.body
        assert by_asgi.headers == {name.lower(): value for name, value in by_wsgi.headers.items()}
        assert self.asgi_app.principals == self.wsgi_app.principals
        return by_wsgi.status


@pytest.fixture
def both(latchkey: Latchkey) -> Both:
    return Both(latchkey)


PATHS = ["/any", "/open", "/é", "/é/x", "/v1/x", "/v1", "//v1/x", "/docs/x", "/V1/x", "/other", ""]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "DELETE"]
NUMBERS = st.integers(0, 10)
HEADERS = st.one_of(
    st.tuples(
        st.sampled_from(["Authorization", "AUTHORIZATION"]),
        st.sampled_from(["Bearer {}", "bearer  {} ", "Basic {}", "{}", "Bearer {}, Bearer {}"]),
        NUMBERS,
    ),
    st.tuples(
        st.sampled_from(["X-Api-Secret", "x-api-secret", "X_Api_Secret"]), st.just("{}"), NUMBERS
    ),
    st.tuples(
        st.sampled_from(["X-Api-Key", "X-Api-Keys"]), st.sampled_from(["ak_{}", "{}"]), NUMBERS
    ),
    st.tuples(
        st.just("X-Forwarded-For"),
        st.sampled_from(["192.0.2.1", "198.51.100.1", "x, [2001:db8::1]:5", "é", ""]),
        NUMBERS,
    ),
    st.tuples(st.sampled_from(["Accept", "Höst"]), st.just("é"), NUMBERS),
)
"""The name, the form of the value, and the number of the secret in it."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    drawn=st.lists(HEADERS, max_size=4),
)
@example(method="GET", path="/any", drawn=[("Authorization", "Bearer {}", 0)] * 2)
@example(method="GET", path="/v1/x", drawn=[("X-Api-Key", "{}", 1), ("Authorization", "{}", 1)])
def test_any_request(both: Both, method: str, path: str, drawn: list[tuple[str, str, int]]) -> None:
    both.compare(method, path, [filled(both, *one) for one in drawn])


def filled(both: Both, name: str, form: str, number: int) -> tuple[str, str]:
    secret = both.secrets[number]
    return name, form.replace("{}", secret[3:30] if form.startswith("ak_") else secret)


@pytest.mark.parametrize("scheme", ["bearer", "pair"])
def test_every_outcome(both: Both, scheme: str) -> None:
    outcomes = set()
    for number, secret in enumerate(both.secrets):
        headers = [("Authorization", f"Bearer {secret}")]
        if scheme == "pair":
            headers = [("X-Api-Key", f"ak_{secret[3:30]}"), ("X-Api-Secret", secret)]
        for method in METHODS:
            for path in PATHS:
                for address in ("192.0.2.1", "198.51.100.1", None):
                    sent = [*headers, ("X-Forwarded-For", address)] if address else headers
                    status = both.compare(method, path, sent, address or "2001:db8::7")
                    outcomes.add((number, status))
    assert {status for _, status in outcomes} == {200, 401, 403}
    assert {number for number, status in outcomes if status == 403} == {2, 3, 4}
