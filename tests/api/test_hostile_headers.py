"""Credentials that no valid client sends: each is refused with the error envelope."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api.contract import (
    HEADERS_TOO_LARGE,
    INVALID,
    INVALID_BY_FORM,
    INVALID_REQUEST,
    MISSING_BY_FORM,
    lines,
    wire,
)
from tests.support.api.hostile import is_well, send_and_read
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack

# Credentials.


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Api-Secret"])
def test_credential_header_sent_twice(service: Service, live: Pair, name: str) -> None:
    """As two lines, and as one line into which a proxy joined them: the same valid value."""
    headers = live.bearer if name == "Authorization" else live.headers
    bearer = name == "Authorization"
    for path in ("/v1/account", "/credentials"):
        twice = service.send_raw(wire(f"GET {path}", *lines(headers), f"{name}: {headers[name]}"))
        joined = {**headers, name: f"{headers[name]}, {headers[name]}"}
        for answer in (twice, service.get(path, joined)):
            INVALID_REQUEST.check(answer, "bearer" if bearer else "pair", bearer=bearer)


@pytest.mark.parametrize("name", ["X-Api-Key", "X-Api-Secret"])
def test_lone_half_with_a_comma(service: Service, live: Pair, name: str) -> None:
    INVALID_REQUEST.check(service.get("/v1/account", {name: f"{live.headers[name]},"}), "pair")
    INVALID_REQUEST.check(service.get("/v1/account", {name: ","}), "pair")


def test_a_second_bearer_after_another_scheme(service: Service, live: Pair) -> None:
    """The first scheme is the presented one, so the response does not mention bearer."""
    for value in (f"Basic x,{live.bearer['Authorization']}", "Basic x, BEARER y"):
        INVALID_REQUEST.check(service.get("/v1/account", {"Authorization": value}), "bearer")
        INVALID_REQUEST.check(service.get("/credentials", {"Authorization": value}), "pair")
    twice = wire("GET /v1/account", "Authorization: Basic x", *lines(live.bearer))
    INVALID_REQUEST.check(service.send_raw(twice), "bearer")


@pytest.mark.parametrize(
    "value",
    [
        "Basic dXNlcjpwYXNz",
        'Digest username="Mufasa", realm="testrealm", nonce="dcd98b", uri="/", response="6629"',
        'Digest a="x",b="Bearer, y"',
        "Negotiate abc==",
        "Bearer",
        "Bearer ",
        "Bearer     ",
        "bearer",
        ",",
        "Basic x,",
        "\xff\xfe",
        "Bearerx y",
    ],
)
def test_authorization_that_presents_nothing(service: Service, live: Pair, value: str) -> None:
    raw = wire("GET /v1/account", f"Authorization: {value}")
    MISSING_BY_FORM.check(service.send_raw(raw), "bearer")
    # It is no credential, so a pair beside it is the only one.
    with_pair = wire("GET /v1/account", f"Authorization: {value}", *lines(live.headers))
    assert service.send_raw(with_pair).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_in_any_case(service: Service, live: Pair, scheme: str) -> None:
    answer = service.get("/v1/account", {"Authorization": f"{scheme} {live.api_secret}"})
    assert answer.status == 200
    padded = {"Authorization": f"{scheme}   {live.api_secret}  "}
    assert service.get("/v1/account", padded).status == 200


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "sk_live_",
        "sk_live_" + "0" * 71,
        "sk_live_" + "z" * 71,
        "sk_test_" + "\xe9" * 71,
        "\xff",
        "sk_live_" + "0" * 8_000,
        "sk_live_ " + "0" * 70,
        "Bearer x",
        "%s",
        "' OR 1=1 --",
        "../../etc/passwd",
    ],
)
def test_bearer_that_is_malformed(service: Service, token: str) -> None:
    raw = wire("GET /v1/account", f"Authorization: Bearer {token}")
    INVALID.check(service.send_raw(raw), "bearer", bearer=True)


def test_secret_that_differs_in_one_place(service: Service, live: Pair) -> None:
    """Each part matters: mode, id, mac and checksum."""
    for place in (3, 8, 29, 30, 50, 72, 73, 78):
        other = "0" if live.api_secret[place] != "0" else "1"
        secret = live.api_secret[:place] + other + live.api_secret[place + 1 :]
        wrong = Pair(live.api_key, secret)
        INVALID.check(service.get("/v1/account", wrong.bearer), "bearer", bearer=True)
        INVALID.check(service.get("/v1/account", wrong.headers), "pair")
    for text in (live.api_secret + "0", live.api_secret[:-1], live.api_secret.upper()):
        wrong = Pair(live.api_key, text)
        INVALID.check(service.get("/v1/account", wrong.bearer), "bearer", bearer=True)


def test_pair_whose_halves_do_not_belong_together(service: Service, live: Pair, test: Pair) -> None:
    """The halves of two valid credentials."""
    other = service.issue()
    same_id_other_mode = live.api_key.replace("live", "test")
    for api_key in (other.api_key, test.api_key, same_id_other_mode, "x"):
        mixed = Pair(api_key, live.api_secret)
        INVALID.check(service.get("/v1/account", mixed.headers), "pair")
    for api_key in (live.api_key, live.api_secret):
        swapped = Pair(live.api_secret, api_key)
        INVALID_BY_FORM.check(service.get("/v1/account", swapped.headers), "pair")


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Api-Secret", "X-Other"])
def test_headers_of_64_kib(service: Service, live: Pair, name: str) -> None:
    for value in ("x" * 65_536, f"Bearer {'x' * 65_536}", "\xff" * 65_536, "," * 65_536):
        HEADERS_TOO_LARGE.check(
            service.send_raw(wire("GET /v1/account", f"{name}: {value}")), "bearer"
        )
        with_key = wire("GET /health", *lines(live.bearer), f"{name}: {value}")
        HEADERS_TOO_LARGE.check(service.send_raw(with_key), "pair")


def test_header_block_of_two_megabytes(service: Service) -> None:
    """More than the server reads. The response arrives although the rest is never read."""
    block = [f"X-{number}: {'x' * 8_000}" for number in range(250)]
    HEADERS_TOO_LARGE.check(send_and_read("GET /v1/account", block, service), "bearer")


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Other"])
@pytest.mark.parametrize("value", ["\x00", "Bearer \x00", "a\x00b", "\x01", "\x7f", "a\rb", "a\nb"])
def test_control_characters_in_headers(service: Service, live: Pair, name: str, value: str) -> None:
    for path, dialect in (("/v1/account", "bearer"), ("/health", "pair")):
        answer = service.send_raw(wire(f"GET {path}", f"{name}: {value}"))
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert answer.code == ("invalid_request" if dialect == "bearer" else "INVALID_REQUEST")


# Random credentials.

_CHARACTERS = st.characters(
    codec="latin-1", exclude_characters="\r\n\x00", exclude_categories=["Cc"]
)
_TEXT = st.text(_CHARACTERS, max_size=90)
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LIKE = st.builds(
    lambda prefix, mode, rest: f"{prefix}_{mode}_{rest}",
    st.sampled_from(["sk", "ak"]),
    st.sampled_from(["live", "test", "prod"]),
    st.text(_BASE62, min_size=20, max_size=72),
)
_VALUE = st.one_of(_TEXT, _SECRET_LIKE)
_HEADERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["X-Api-Key", "X-Api-Secret", "x-api-KEY"]), _VALUE),
        st.tuples(
            st.just("Authorization"),
            st.builds(
                lambda scheme, gap, value: scheme + gap + value,
                st.sampled_from(["Bearer", "bearer", "Basic", "", "Bearer,"]),
                st.sampled_from([" ", "", "  ", ",", "\t"]),
                _VALUE,
            ),
        ),
    ),
    max_size=5,
)


@given(headers=_HEADERS, path=st.sampled_from(["/v1/account", "/credentials", "/nowhere", "/v1/x"]))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_credentials_are_refused(
    service: Service, headers: list[tuple[str, str]], path: str
) -> None:
    data = wire(f"GET {path}", *[f"{name}: {value}" for name, value in headers])
    answer = service.send_raw(data)
    assert answer.status in (400, 401, 429)
    assert set(answer.json) == {"error"}
    assert set(json.loads(answer.body)["error"]) == {"type", "code", "message"}


HOP_BY_HOP = [
    ("Upgrade: websocket", "Connection: Upgrade"),
    ("Upgrade: WebSocket", "Connection: keep-alive, upgrade", "Sec-WebSocket-Version: 13"),
    ("Upgrade: websocket, h2c", "Connection: Upgrade"),
    ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"),
    ("Upgrade: TLS/1.2", "Connection: Upgrade"),
    ("Upgrade: websocket",),
    ("Connection: Upgrade",),
    ("Connection: X-Api-Key, Authorization, x",),
    ("TE: trailers, deflate", "Connection: TE"),
    ("Trailer: Authorization",),
    ("Keep-Alive: timeout=5", "Connection: keep-alive"),
    ("Proxy-Authorization: Basic x", "Proxy-Connection: keep-alive"),
    ("Proxy-Authenticate: Basic",),
]


@pytest.mark.parametrize("headers", HOP_BY_HOP)
def test_headers_of_the_connection_are_ignored(
    service: Service, live: Pair, headers: tuple[str, ...]
) -> None:
    """They are for the connection to the next server, and do not affect the response."""
    for request, credential in (
        *(("GET /v1/account", lines(shown)) for shown in (live.bearer, live.headers)),
        *(("GET /v1/account", []), ("GET /nowhere", lines(live.bearer))),
        *(("GET /health", []), ("GET /docs/", []), ("GET /console/nowhere", [])),
        ("POST /credentials", []),
    ):
        plain = send_and_read(request, credential, service)
        answer = send_and_read(request, [*credential, *headers], service)
        assert (answer.status, answer.body) == (plain.status, plain.body), request
        assert "upgrade" not in answer.headers["connection"]


def test_the_service_still_works_afterwards(service: Service, live: Pair) -> None:
    assert is_well(service, live)
