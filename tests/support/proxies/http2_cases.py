"""Cases: requests over HTTP/2, whose header fields a proxy turns into those of HTTP/1.1."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.support.proxies.expectations import IDENTITY, Sites, alias, assert_admitted, bearer
from tests.support.proxies.forgery import NOT_UTF8, UNUSUAL
from tests.support.proxies.http2 import Http2Connection, fields, request
from tests.support.proxies.programs import HOST
from tests.support.proxies.site import Headers, Site
from tests.support.service import Pair, Service

EVIL = "evil.example"
_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n"


class Http2Cases(Sites):
    """What the cases over HTTP/1.1 do not show."""

    def test_a_valid_key_over_http2(self, site: Site, key: Pair) -> None:
        for headers in (bearer(key), list(key.headers.items())):
            answer = request(site, fields("GET", "/orders?a=b", headers))
            received = assert_admitted(answer, key.api_key)
            assert (received.method, received.target) == ("GET", "/orders?a=b")
            assert received.value("Host") == HOST
            assert received.value("X-Forwarded-For") == "127.0.0.1"
            assert key.api_secret not in repr(received)
        posted = request(site, fields("POST", "/orders", bearer(key)), b"body")
        assert assert_admitted(posted, key.api_key).length == 4

    def test_refusals_over_http2(self, site: Site, key: Pair, confined: Pair) -> None:
        pair = list(key.headers.items())
        for target, headers, status, code in (
            ("/", [], 401, "unauthorized"),
            ("/", [("Authorization", "Bearer nonsense")], 401, "invalid_api_key"),
            ("/", pair[:1], 401, "unauthorized"),
            ("/", [*pair, pair[1]], 400, "invalid_request"),
            ("/", [*bearer(key), *pair], 400, "invalid_request"),
            ("/secret", bearer(confined), 403, "endpoint_not_allowed"),
        ):
            answer = request(site, fields("GET", target, headers))
            assert (answer.status, answer.code.lower()) == (status, code), (target, headers)
            assert answer.received == ()
        # Some proxies refuse it before they ask.
        twice = request(site, fields("GET", "/", [*bearer(key), *bearer(key)]))
        assert (twice.status, twice.received) == (400, ())

    def test_a_connection_of_http2_outlives_a_key(self, site: Site, served: Service) -> None:
        pair = served.issue()
        with closing(Http2Connection(site)) as connection:
            for _ in range(3):
                assert connection.request(fields("GET", "/", bearer(pair))).status == 200
            path = f"/v1/api_keys/{pair.api_key}"
            assert served.request("DELETE", path, pair.bearer).status == 200
            answer = connection.request(fields("GET", "/", bearer(pair)))
        assert (answer.status, answer.code, answer.received) == (401, "key_revoked", ())

    @pytest.mark.parametrize("character", ["-", "_", "."])
    def test_clients_send_no_identity_over_http2(
        self, site: Site, key: Pair, character: str
    ) -> None:
        claimed = [(alias(f"x-latchkey-{name}", character), "claimed") for name in IDENTITY]
        answer = request(site, fields("GET", "/", [*claimed, *bearer(key)]))
        assert "claimed" not in repr(assert_admitted(answer, key.api_key))

    def test_clients_do_not_describe_the_request_over_http2(
        self, site: Site, confined: Pair
    ) -> None:
        claims = [
            *(("x-original-uri", "/allowed/x"), ("x-forwarded-uri", "/allowed/x")),
            *(("x-original-method", "GET"), ("x-envoy-original-path", "/allowed/x")),
        ]
        refused = request(site, fields("GET", "/secret", [*claims, *bearer(confined)]))
        assert (refused.status, refused.code) == (403, "endpoint_not_allowed")

    def test_host_names_over_http2(self, site: Site, key: Pair) -> None:
        """A name in ``:authority``, in ``host``, or in both."""
        evil = [("host", EVIL), *bearer(key)]
        for given in (
            fields("GET", "/", bearer(key), authority=EVIL),
            fields("GET", "/", evil, authority=None),
        ):
            answer = request(site, given)
            assert (answer.status, answer.received) == (self.outcomes.other_host, ())
        named = fields("GET", "/", [("host", HOST), *bearer(key)], authority=None)
        assert assert_admitted(request(site, named), key.api_key).value("Host") == HOST
        without = request(site, fields("GET", "/", bearer(key), authority=None))
        assert (without.status == 200, without.received) == (False, ())
        # A proxy refuses two names, or passes on one: that of the application.
        contrary = fields("GET", "/", [("host", HOST), *bearer(key)], authority=EVIL)
        assert request(site, contrary).received == ()
        for received in request(site, fields("GET", "/", evil)).received:
            assert EVIL not in repr(received)

    def test_the_port_of_a_host_name(self, site: Site, key: Pair) -> None:
        """The application receives the name as it is configured, without a client's port."""
        for answer in (
            request(site, fields("GET", "/", bearer(key), authority=f"{HOST}:81")),
            site.request("GET", "/", bearer(key), host=f"{HOST}:81"),
        ):
            received = assert_admitted(answer, key.api_key)
            assert received.value("Host") == HOST
            assert received.value("X-Forwarded-Host") in ("", HOST)

    @pytest.mark.parametrize("target", UNUSUAL)
    def test_an_unusual_target_over_http2(self, site: Site, confined: Pair, target: str) -> None:
        self.assert_target_refused(request(site, fields("GET", target, bearer(confined))), target)

    def test_a_target_of_other_bytes_over_http2(self, site: Site, confined: Pair) -> None:
        """Envoy describes it to Latchkey with other characters in place of these bytes."""
        for target in NOT_UTF8:
            answer = request(site, fields("GET", target, bearer(confined)))
            assert (answer.status, answer.received) == (400, ())

    def test_an_absolute_target_over_http2(self, site: Site, confined: Pair) -> None:
        """Some proxies read a path out of it; the rules apply to that path."""
        for authority in (HOST, EVIL):
            target = f"https://{authority}/secret"
            answer = request(site, fields("GET", target, bearer(confined)))
            assert (answer.status == 200, answer.received) == (False, ())

    @pytest.mark.parametrize(
        "given",
        [
            [(":path", "/allowed/y"), *fields("GET", "/allowed/x")],
            [*fields("GET", "/allowed/x"), (":path", "/secret")],
            [(":method", "POST"), *fields("GET", "/allowed/x")],
            fields("GET /allowed/x HTTP/1.1\r\nX: y", "/allowed/x"),
            fields("GET", "/allowed/x HTTP/1.1\r\nX-Latchkey-Key: claimed"),
            fields("GET", "allowed/x"),
            fields("GET", ""),
            fields("GET", "/allowed/x", [("x-a", "b\r\nx-latchkey-key: claimed")]),
            fields("GET", "/allowed/x", [("x-a", "b\0c")]),
            fields("GET", "/allowed/x", [("x-a: b\r\nx-latchkey-key", "claimed")]),
            [*fields("GET", "/allowed/x"), ("X-Upper", "b")],
            fields("GET", "/allowed/x", scheme="https://evil.example/x?"),
            [(":method", "CONNECT"), (":authority", f"{HOST}:443")],
        ],
    )
    def test_invalid_fields_of_http2(self, site: Site, confined: Pair, given: Headers) -> None:
        """They become no other fields of HTTP/1.1, and no second request."""
        credential = [(name.lower(), value) for name, value in bearer(confined)]
        answer = request(site, [*given, *credential])
        assert (answer.status == 200, answer.received) == (False, ())
        after = site.request("GET", "/allowed/after", bearer(confined))
        assert [one.target for one in after.received] == ["/allowed/after"]

    @pytest.mark.parametrize(
        ("framing", "body"),
        [
            (("transfer-encoding", "chunked"), b"0\r\n\r\n"),
            (("content-length", "0"), b""),
            (("content-length", "4"), b"body"),
        ],
    )
    def test_the_length_of_a_body_over_http2(
        self, site: Site, key: Pair, framing: tuple[str, str], body: bytes
    ) -> None:
        """A field that contradicts the frames begins no second request."""
        given = fields("POST", "/x", [framing, *bearer(key)])
        answer = request(site, given, body + _SMUGGLED)
        after = site.request("GET", "/after", bearer(key))
        targets = {one.target for one in (*answer.received, *after.received)}
        assert targets <= {"/x", "/after"}
