"""Cases: what clients send to pass for others, and what they must not choose."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.proxies.expectations import (
    IDENTITY,
    PREFLIGHT,
    Sites,
    alias,
    assert_admitted,
    assert_refused,
    bearer,
)
from tests.support.proxies.programs import HOST
from tests.support.proxies.site import Site
from tests.support.service import Pair, Service

UNUSUAL = (
    "//allowed/x",
    "/allowed//x",
    "/allowed/../secret",
    "/allowed/./x",
    "/allowed/%2e%2e/secret",
    "/allowed/%2E%2E/secret",
    "/allowed/.%2e/secret",
    "/allowed%2fx",
    "/allowed/..%2fsecret",
    "/allowed/x%5cy",
    "/allowed/x;y=1",
    "/allowed/..;/secret",
    "/allowed/x%3by",
    "/allowed/%252e%252e/secret",
    "/allowed/%c0%ae%c0%ae/secret",
    "/allowed/%ff",
)
"""Targets that programs read in different ways."""
NOT_UTF8 = ("/allowed/\xff", "/allowed/\xc0\xae\xc0\xae/secret")
"""Targets with bytes that belong to no character, in Latin-1."""


class Forgery(Sites):
    """Headers and targets of hostile clients."""

    @pytest.mark.parametrize("character", ["-", "_", ".", "!", "~"])
    def test_clients_send_no_identity(self, site: Site, key: Pair, character: str) -> None:
        """Not in another spelling, and not where the value is empty.

        CVE-2025-64484 (underscores), Traefik 3.7.13 (dots), GHSA-7r4p-vjf4-gxv4 (empty).
        """
        names = [f"X-Latchkey-{name}" for name in (*IDENTITY, "Status", "Retry-After", "Error")]
        claimed = [(alias(name, character), "claimed") for name in names]
        lower = [(name.lower(), "claimed") for name, _ in claimed]
        for more in (claimed, lower, [*claimed, *claimed], [("X-Latchkey_Key", "claimed")]):
            received = assert_admitted(site.request("GET", "/", [*more, *bearer(key)]), key.api_key)
            assert "claimed" not in repr(received)
            assert received.value("X-Latchkey-External-Id") == ""
        assert_refused(site.request("GET", "/", claimed), 401, "unauthorized")

    def test_an_identity_is_complete(self, site: Site, served: Service) -> None:
        """With the external id and the metadata of the account."""
        account = json.loads(
            served.command(
                *(
                    "accounts",
                    "create",
                    "--name",
                    "Acme",
                    "--external-id",
                    f"acme-{time.time_ns()}",
                ),
                *("--metadata", '{"plan": "gold"}', "--json"),
            ).stdout
        )
        pair = served.create_key("live", "--account", account["id"], "--scope", "orders:read")
        received = assert_admitted(
            site.request("GET", "/", [*bearer(pair), ("X-Latchkey-Metadata", "claimed")]),
            pair.api_key,
        )
        assert received.value("X-Latchkey-Account") == account["id"]
        assert received.value("X-Latchkey-External-Id") == account["external_id"]
        assert received.value("X-Latchkey-Metadata") != ""

    def test_clients_remove_no_identity(self, site: Site, key: Pair) -> None:
        """Some proxies remove headers that ``Connection`` names (CVE-2024-45410)."""
        # The other values are empty, and some proxies do not send empty ones.
        names = ["X-Latchkey-Key", "X-Latchkey-Account", "X-Latchkey-Mode", "X-Latchkey-Scopes"]
        names += ["X-Forwarded-For", "X-Forwarded-Proto"]
        connection = ("Connection", ", ".join(["keep-alive", *names]))
        for received in site.request("GET", "/", [*bearer(key), connection]).received:
            assert all(received.value(name) for name in names)

    def test_clients_upgrade_to_websockets_only(self, site: Site, key: Pair) -> None:
        """After an upgrade to h2c, requests would reach the application unchecked."""
        for protocols in (("h2c",), ("h2c, websocket",), ("h2c", "websocket"), ("TLS/1.0",)):
            upgrade = [
                *(("Upgrade", protocol) for protocol in protocols),
                ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
                ("Connection", "Upgrade, HTTP2-Settings"),
            ]
            answer = site.request("GET", "/x", [*bearer(key), *upgrade])
            for received in answer.received:
                assert received.values("Upgrade") in ([], ["websocket"]), protocols

    def test_clients_do_not_describe_the_request(self, site: Site, confined: Pair) -> None:
        """The target and the method that count are those of the request.

        CVE-2026-40575 and oauth2-proxy#3506 (the URI), CVE-2026-35051 (the prefix).
        """
        claims = [
            ("X-Original-URI", "/allowed/x"),
            ("X-Original-Url", "/allowed/x"),
            ("X-Original-Method", "GET"),
            ("X-Original-Host", HOST),
            ("X-Forwarded-Uri", "/allowed/x"),
            ("X-Forwarded-Path", "/allowed/x"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", HOST),
            ("X-Forwarded-Prefix", "/allowed"),
            ("X-Rewrite-Url", "/allowed/x"),
            ("X-Envoy-Original-Path", "/allowed/x"),
            ("X_Original_URI", "/allowed/x"),
            ("X.Original.URI", "/allowed/x"),
            ("X_Forwarded_Uri", "/allowed/x"),
        ]
        assert_admitted(site.request("GET", "/allowed/x", bearer(confined)), confined.api_key)
        for claimed in (*([one] for one in claims), claims, claims * 2):
            refused = site.request("GET", "/secret", [*claimed, *bearer(confined)])
            assert_refused(refused, 403, "endpoint_not_allowed")

    def test_clients_do_not_choose_the_method(self, site: Site, served: Service) -> None:
        """`X-Original-Method: OPTIONS` opened a GET (oauth2-proxy#735)."""
        pair = served.issue(endpoints=["POST /things"])
        assert_admitted(site.request("POST", "/things", bearer(pair), b"x"), pair.api_key)
        for name in ("X-Original-Method", "X-Forwarded-Method", "X-HTTP-Method-Override"):
            for method in ("GET", "PUT"):
                refused = site.request(method, "/things", [*bearer(pair), (name, "POST")])
                assert_refused(refused, 403, "endpoint_not_allowed")
            claimed = [(name, "OPTIONS"), *PREFLIGHT]
            assert_refused(site.request("GET", "/things", claimed), 401, "unauthorized")

    def test_clients_do_not_choose_the_script_name(self, site: Site, confined: Pair) -> None:
        """Under WSGI, it would be taken from the beginning of the path."""
        for name in ("SCRIPT_NAME", "SCRIPT-NAME", "PATH_INFO", "PATH-INFO"):
            headers = [*bearer(confined), (name, "/allowed")]
            assert_refused(site.request("GET", "/secret", headers), 403, "endpoint_not_allowed")
            received = site.request("GET", "/allowed/x", headers).passed
            assert "_" not in "".join(given for given, _ in received.headers)

    def test_clients_do_not_tell_the_application_where_they_are(
        self, site: Site, key: Pair
    ) -> None:
        """Also not by RFC 7239 (traefik#12657)."""
        claims = [
            ("Forwarded", "for=203.0.113.5;host=evil.example"),
            ("X-Forwarded-For", "203.0.113.5"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Prefix", "/evil"),
            ("X-Forwarded-Uri", "/evil"),
            ("X-Forwarded-Method", "EVIL"),
            ("X-Original-URI", "/evil"),
            ("X-Original-Method", "EVIL"),
            ("X-Original-Host", "evil.example"),
        ]
        received = assert_admitted(site.request("GET", "/", [*claims, *bearer(key)]), key.api_key)
        assert "evil" not in repr(received).lower()
        assert received.value("X-Forwarded-For") == "127.0.0.1"
        assert received.value("Forwarded") == ""
        assert received.value("Host") == HOST
        assert received.value("X-Forwarded-Host") in ("", HOST)

    def test_clients_do_not_choose_what_is_needed(
        self, site: Site, needing: Site, key: Pair
    ) -> None:
        """Some proxies append the query of the client to the question."""
        for query in (
            "scope=account:read",
            "scope=nothing:read",
            "cost=0",
            "preflight=pass",
            "a=b",
        ):
            target = f"/x?{query}"
            received = assert_admitted(site.request("GET", target, bearer(key)), key.api_key)
            assert received.target == target
            assert_refused(site.request("GET", target), 401, "unauthorized")
            weak = needing.service.issue(scopes=["account:read"])
            assert_refused(needing.request("GET", target, bearer(weak)), 403, "insufficient_scope")
        refused = site.request("OPTIONS", "/x?preflight=pass", PREFLIGHT)
        assert_refused(refused, 401, "unauthorized")

    def test_another_host_name(self, site: Site, key: Pair) -> None:
        answer = site.request("GET", "/", bearer(key), host="evil.example")
        assert (answer.status, answer.received) == (self.outcomes.other_host, ())
        target = "https://evil.example/orders"
        answer = site.request("GET", target, bearer(key))
        assert (answer.status, answer.received) == (self.outcomes.other_authority, ())

    def test_two_host_names(self, site: Site, key: Pair) -> None:
        answer = site.request("GET", "/", [("Host", "evil.example"), *bearer(key)])
        assert (answer.status, answer.received) == (self.outcomes.two_hosts, ())

    @pytest.mark.parametrize("target", UNUSUAL)
    def test_an_unusual_target_is_refused(self, site: Site, confined: Pair, target: str) -> None:
        """Latchkey refuses it and cleans nothing (CVE-2019-9901, CVE-2021-29492)."""
        self.assert_target_refused(site.request("GET", target, bearer(confined)), target)

    @pytest.mark.parametrize("target", NOT_UTF8)
    def test_a_target_of_other_bytes(self, site: Site, confined: Pair, target: str) -> None:
        """Some proxies refuse it before they ask."""
        answer = site.request("GET", target, bearer(confined))
        assert (answer.status, answer.received) == (400, ())

    def test_an_encoded_letter(self, site: Site, confined: Pair) -> None:
        target = "/%61llowed/x"
        received = assert_admitted(site.request("GET", target, bearer(confined)), confined.api_key)
        assert received.target == self.outcomes.paths.get(target, (200, target))[1]
        refused = site.request("GET", "/%41llowed/x", bearer(confined))
        assert_refused(refused, 403, "endpoint_not_allowed")

    def test_a_target_in_the_absolute_form(self, site: Site, confined: Pair) -> None:
        """The application receives what Latchkey has decided about."""
        target = f"https://{HOST}/allowed/x?a=b"
        received = assert_admitted(site.request("GET", target, bearer(confined)), confined.api_key)
        assert received.target == "/allowed/x?a=b"
        refused = site.request("GET", f"https://{HOST}/secret", bearer(confined))
        assert_refused(refused, 403, "endpoint_not_allowed")
