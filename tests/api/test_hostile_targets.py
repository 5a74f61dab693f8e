"""Requests that try to confuse the server about caller and route: nothing becomes accessible."""

from __future__ import annotations

import pytest

from tests.support.api.contract import (
    NOT_FOUND,
    lines,
    wire,
)
from tests.support.api.hostile import is_well
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack


def test_names_with_underscores_present_nothing(service: Service, live: Pair) -> None:
    """They become the same names in the environ, so a proxy that strips headers misses them."""
    for headers in (
        [f"X_Api_Key: {live.api_key}", f"X_Api_Secret: {live.api_secret}"],
        [f"X-Api_Key: {live.api_key}", f"X-Api-Secret: {live.api_secret}"],
        [f"X_API_SECRET: {live.api_secret}"],
    ):
        answer = service.send_raw(wire("GET /credentials", *headers))
        assert answer.status == 401
    mixed = wire("GET /credentials", *lines(live.headers), "X_Api_Key: ak_live_other")
    assert service.send_raw(mixed).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /v1",
        "SCRIPT-NAME: /v1",
        "Script_Name: /v1/account",
        "PATH_INFO: /health",
        "Path-Info: /health",
        "REQUEST_METHOD: GET",
        "X-Original-URL: /health",
        "X-Rewrite-URL: /health",
        "X-HTTP-Method-Override: GET",
        "X-Forwarded-Prefix: /docs/",
        "REMOTE_USER: root",
        "latchkey.principal: x",
        "Host: localhost/docs/",
        "Forwarded: for=127.0.0.1;proto=https",
    ],
)
def test_no_header_opens_a_route(service: Service, live: Pair, header: str) -> None:
    assert service.send_raw(wire("GET /v1/account", header)).status in (400, 401)
    assert service.send_raw(wire("DELETE /health", header)).status in (400, 401)
    answer = service.send_raw(wire("GET /v1/account", header, *lines(live.bearer)))
    assert answer.status in (200, 400)


@pytest.mark.parametrize(
    "target",
    [
        "//health",
        "///health",
        "/health/",
        "/health//",
        "/./health",
        "//docs",
        "/docs%00",
        "/docs;x",
        "/%00",
        "/Health",
        "/health;x",
        "/v1/account/../../health",
        "/health/../v1/account",
        "/v1/%61ccount",
        "/v1/account%2f..%2f..%2fhealth",
        "/v1//account",
        "//v1/account",
        "/credentials/",
        "/metrics/",
        "/openapi.json/",
        "/docs\\x",
        "/.docs/",
        "/x/docs/",
        "/console;x",
        "/%ff%fe",
        "http://localhost/v1/account",
        "http://localhost/docs/../v1/account?x=/docs/",
        "/?/docs/",
        "/v1/account?/docs/",
        "/v1/account#/docs/",
    ],
)
def test_path_that_only_looks_open(service: Service, target: str) -> None:
    """The middleware compares the same path as the router, so no spelling can differ."""
    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = service.send_raw(wire(f"{method} {target}"))
        allowed = {401}
        if target.startswith("http://localhost/docs/"):
            allowed = {404, 405}
        assert answer.status in allowed, (method, target)


@pytest.mark.parametrize("target", ["/console/../v1/account", "/console/x"])
def test_the_console_redirects_strangers_to_its_sign_in_page(
    service: Service, live: Pair, target: str
) -> None:
    """Also clients with an API key, which is not valid for the console."""
    for headers in ([], lines(live.bearer)):
        answer = service.send_raw(wire(f"GET {target}", *headers))
        assert (answer.status, answer.headers["location"]) == (303, "/console/sign-in")
        assert live.api_key.encode() not in answer.body


@pytest.mark.parametrize(
    "target",
    [
        "/docs/../v1/account",
        "/docs/..%2fv1%2faccount",
        "/docs/%2e%2e/v1/account",
        "/docs//v1/account",
        "/docs/assets/../../v1/account",
        "/docs/assets/..%2f..%2f..%2f__init__.py",
        "/docs/assets/%2e%2e/%2e%2e/__init__.py",
        "/docs/assets//etc/passwd",
        "/docs/assets/%2fetc%2fpasswd",
        "/docs/assets/..\\..\\__init__.py",
        "/docs/assets/",
        "/docs/assets/%00",
        "/docs/%ff",
        "/docs/credentials",
    ],
)
def test_an_open_area_gives_access_to_no_other_route(
    service: Service, live: Pair, target: str
) -> None:
    for headers in ([], lines(live.bearer)):
        answer = service.send_raw(wire(f"GET {target}", *headers))
        NOT_FOUND.check(answer, "pair")


@pytest.mark.parametrize(
    ("target", "opened"),
    [("/%68ealth", True), ("http://localhost/health", True), ("/health?x=%ff", True)],
)
def test_other_spellings_of_the_same_path(service: Service, target: str, opened: bool) -> None:
    """By RFC 3986, these are the same resource, so they are open too."""
    assert (service.send_raw(wire(f"GET {target}")).status == 200) is opened


def test_the_service_still_works_afterwards(service: Service, live: Pair) -> None:
    assert is_well(service, live)
