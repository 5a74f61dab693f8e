"""Cases: which requests are admitted, and what refusals say."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.faults.outage import derived
from tests.support.faults.service_processes import wait_until
from tests.support.proxies.expectations import (
    PREFLIGHT,
    Sites,
    assert_admitted,
    assert_refused,
    bearer,
)
from tests.support.proxies.programs import HOST
from tests.support.proxies.site import Site, exchange
from tests.support.service import Pair, Service


class Admission(Sites):
    """Keys, scopes, conditions and preflight requests."""

    def test_a_valid_key_by_both_schemes(self, site: Site, key: Pair) -> None:
        for headers in (bearer(key), list(key.headers.items())):
            received = assert_admitted(site.request("GET", "/orders?a=b", headers), key.api_key)
            assert (received.method, received.target) == ("GET", "/orders?a=b")
            assert received.value("X-Latchkey-Mode") == "live"
            assert received.value("X-Latchkey-Scopes") == "account:read orders:read:eu-1"
            assert received.value("X-Latchkey-Account").startswith("acct_")

    def test_the_credential_is_not_passed_on(self, site: Site, key: Pair) -> None:
        for headers in (bearer(key), list(key.headers.items())):
            received = site.request("GET", "/", headers).passed
            assert key.api_secret not in repr(received)
            for name in ("Authorization", "X-Api-Key", "X-Api-Secret"):
                assert received.value(name) == ""

    def test_refusals_say_why(self, site: Site, served: Service, key: Pair) -> None:
        revoked, disabled = served.issue(), served.issue()
        path = f"/v1/api_keys/{revoked.api_key}"
        assert served.request("DELETE", path, revoked.bearer).status == 200
        changed = served.request(
            "PATCH",
            f"/v1/api_keys/{disabled.api_key}",
            disabled.bearer,
            json_body={"enabled": False},
        )
        assert changed.status == 200
        pair = list(key.headers.items())
        elsewhere = served.issue(networks=["203.0.113.0/24"])
        for headers, status, code in (
            ([], 401, "unauthorized"),
            ([("Authorization", "Basic eDp5")], 401, "unauthorized"),
            ([("Authorization", "Bearer nonsense")], 401, "invalid_api_key"),
            (bearer(derived(served)), 401, "invalid_api_key"),
            (bearer(revoked), 401, "key_revoked"),
            (bearer(disabled), 401, "key_disabled"),
            (pair[:1], 401, "unauthorized"),
            ([*bearer(key), *pair], 400, "invalid_request"),
            ([*pair, pair[0]], 400, "invalid_request"),
            ([*pair, pair[1]], 400, "invalid_request"),
            (bearer(served.issue("test")), 403, "mode_not_allowed"),
            (bearer(elsewhere), 403, "address_not_allowed"),
        ):
            assert_refused(site.request("GET", "/orders", headers), status, code)

    def test_two_authorizations(self, site: Site, key: Pair) -> None:
        """Some proxies refuse them before they ask."""
        for other in (*bearer(key), ("Authorization", "Basic eDp5")):
            answer = site.request("GET", "/orders", [*bearer(key), other])
            assert (answer.status, answer.received) == (400, ())

    def test_the_challenge_of_a_refusal(self, site: Site, needing: Site) -> None:
        answer = site.request("GET", "/", [("Authorization", "Bearer nonsense")])
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        without = needing.request(
            "GET", "/", bearer(needing.service.issue(scopes=["account:read"]))
        )
        assert_refused(without, 403, "insufficient_scope")
        assert 'error="insufficient_scope"' in without.headers["WWW-Authenticate"]
        assert 'scope="orders:read"' in without.headers["WWW-Authenticate"]

    def test_the_scope_that_is_needed(self, needing: Site) -> None:
        admitted = needing.service.issue(scopes=["orders:write"])
        assert_admitted(needing.request("GET", "/x", bearer(admitted)), admitted.api_key)
        for scopes in (["orders:read:eu-1"], ["account:read"]):
            refused = needing.request("GET", "/x", bearer(needing.service.issue(scopes=scopes)))
            assert_refused(refused, 403, "insufficient_scope")

    def test_an_expired_key(self, site: Site, served: Service) -> None:
        expiry = datetime.now(UTC) + timedelta(seconds=3)
        pair = served.issue(expires_at=expiry.isoformat())
        wait_until(lambda: site.request("GET", "/", bearer(pair)).status != 200, "the expiry")
        assert_refused(site.request("GET", "/", bearer(pair)), 401, "key_expired")

    def test_the_networks_of_a_key(self, site: Site, served: Service) -> None:
        """What a client says about its address does not count."""
        here, elsewhere = (
            served.issue(networks=[network]) for network in ("127.0.0.0/8", "203.0.113.0/24")
        )
        claims = [
            ("X-Forwarded-For", "203.0.113.5"),
            ("X-Real-Ip", "203.0.113.5"),
            ("Forwarded", "for=203.0.113.5"),
            ("X_Forwarded_For", "203.0.113.5"),
        ]
        for claimed in ([], claims[:1], claims[:1] * 2, claims):
            refused = site.request("GET", "/", [*bearer(elsewhere), *claimed])
            assert_refused(refused, 403, "address_not_allowed")
            admitted = site.request("GET", "/", [*bearer(here), *claimed])
            assert_admitted(admitted, here.api_key)

    @pytest.mark.parametrize("revocations", [5])
    def test_a_key_that_is_revoked_while_in_use(
        self, site: Site, served: Service, revocations: int
    ) -> None:
        """Also on one connection of the client: neither proxy nor Latchkey answers from before.

        A proxy that cached the answer let a deleted key pass for two minutes (boxlite#1418).
        """
        for _ in range(revocations):
            pair = served.issue()
            with closing(site.connect()) as connection:
                named = [("Host", HOST), *bearer(pair)]
                for _ in range(3):
                    assert exchange(connection, "GET", "/", named).status == 200
                path = f"/v1/api_keys/{pair.api_key}"
                assert served.request("DELETE", path, pair.bearer).status == 200
                answer = exchange(connection, "GET", "/", named)
            assert (answer.status, answer.code) == (401, "key_revoked")

    def test_errors_of_the_application_are_not_changed(self, site: Site, key: Pair) -> None:
        answer = site.request("GET", "/refused", bearer(key))
        assert (answer.status, answer.body) == (401, b"refused by the application")
        assert answer.headers["X-Upstream"] == "yes"

    def test_a_preflight_needs_a_key_by_default(self, site: Site) -> None:
        assert_refused(site.request("OPTIONS", "/x", PREFLIGHT), 401, "unauthorized")

    def test_a_preflight_passes_where_that_is_configured(self, needing: Site) -> None:
        answer = needing.request("OPTIONS", "/x", [*PREFLIGHT, ("X-Latchkey-Key", "claimed")])
        assert assert_admitted(answer, "").method == "OPTIONS"

    def test_only_a_preflight_passes(self, needing: Site) -> None:
        if self.program.name == "envoy":
            # Its rules open a method, and know nothing of other headers.
            assert_refused(needing.request("GET", "/x", PREFLIGHT), 401, "unauthorized")
            return
        weak = needing.service.issue(scopes=["account:read"])
        for method, headers, status, code in (
            ("OPTIONS", [], 401, "unauthorized"),
            ("OPTIONS", PREFLIGHT[:1], 401, "unauthorized"),
            ("OPTIONS", PREFLIGHT[1:], 401, "unauthorized"),
            ("GET", PREFLIGHT, 401, "unauthorized"),
            ("GET", [*PREFLIGHT, ("X-Original-Method", "OPTIONS")], 401, "unauthorized"),
            ("GET", [*PREFLIGHT, ("X-Forwarded-Method", "OPTIONS")], 401, "unauthorized"),
            ("OPTIONS", [*PREFLIGHT, *bearer(weak)], 403, "insufficient_scope"),
        ):
            assert_refused(needing.request(method, "/x", headers), status, code)
