"""Default deny: the open routes are listed here, and all others need a credential."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

import latchkey_service.api.routes
from latchkey import any_credential
from latchkey.config import Settings, load_settings
from latchkey.errors import ConfigurationError
from latchkey_service import create_app
from tests.support.api.contract import INVALID_REQUEST, METHOD_NOT_ALLOWED, MISSING, NOT_FOUND
from tests.support.service import Pair, Service

OPEN_TO_GET = ("/health", "/ready", "/metrics", "/openapi.json")
AREAS = ("/docs/", "/console/")
LED_INTO = ("/docs", "/console")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
ELSEWHERE = (
    "/",
    "/docsx",
    "/consoles",
    "/v1",
    "/v1/",
    "/static/",
    "/static/x.js",
    "/favicon.ico",
    "/robots.txt",
    "/.well-known/security.txt",
    "/swagger",
    "/openapi",
    "/openapi/openapi.json",
    "/admin",
    "/v1/api_keys/x/usages",
    "/v1/api_keys/x/rotated",
)


def is_open(method: str, path: str) -> bool:
    """The specified list, verbatim."""
    if path.startswith(AREAS):
        return True
    if method in ("GET", "HEAD"):
        return path in (*OPEN_TO_GET, *LED_INTO)
    return (method, path) == ("POST", "/credentials")


@pytest.fixture(scope="module")
def settings(service: Service) -> Settings:
    return load_settings(service.settings)


@pytest.fixture(scope="module")
def paths(settings: Settings) -> list[str]:
    """Every path that the application routes, so that new ones are included."""
    rules = create_app(settings, migrate=False).url_map.iter_rules()
    routed = {re.sub(r"<[^>]+>", "x", rule.rule) for rule in rules}
    assert routed > {"/credentials", "/v1/account", "/v1/api_keys/x", *OPEN_TO_GET}
    return sorted(routed)


def test_all_other_routes_need_a_credential(service: Service, paths: list[str]) -> None:
    asked = 0
    for path in (*paths, *ELSEWHERE):
        for method in METHODS:
            answer = service.request(method, path)
            if is_open(method, path):
                assert answer.status != 401, (method, path)
            elif method == "HEAD":
                assert (answer.status, answer.body) == (401, b""), path
            else:
                MISSING.check(answer, "bearer" if path.startswith("/v1") else "pair")
                asked += 1
    assert asked > 100


@pytest.mark.parametrize("path", [*OPEN_TO_GET, "/docs/"])
def test_open_routes_respond(service: Service, path: str) -> None:
    got, head = service.get(path), service.request("HEAD", path)
    assert (got.status, head.status, head.body) == (200, 200, b"")
    assert got.body
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", LED_INTO)
def test_an_open_area_redirects_to_its_slash(service: Service, live: Pair, path: str) -> None:
    for headers in ({}, live.bearer, {"Host": "elsewhere.example"}, {"Upgrade": "websocket"}):
        for method in ("GET", "HEAD"):
            answer = service.request(method, path, headers)
            assert (answer.status, answer.headers["location"]) == (308, f"{path}/")
    with_query = service.get(f"{path}?a=%3Cb%3E&c")
    assert with_query.headers["location"] == f"{path}/?a=%3Cb%3E&c"
    assert b"<b>" not in with_query.body
    # Nothing else of it is open.
    MISSING.check(service.request("POST", path), "pair")
    assert service.request("POST", path, live.headers).status in (404, 405)


def test_open_registration_reads_the_body_first(service: Service) -> None:
    answer = service.request("POST", "/credentials", {"Content-Type": "application/json"}, body=b"")
    INVALID_REQUEST.check(answer, "pair")


def test_unknown_path_in_an_open_area(service: Service) -> None:
    NOT_FOUND.check(service.get("/docs/nowhere"), "pair")


def test_the_console_also_denies_by_default(service: Service) -> None:
    """tests/console tests this in detail."""
    answer = service.get("/console/nowhere")
    assert (answer.status, answer.headers["location"]) == (303, "/console/sign-in")


def test_options_is_not_automatic(service: Service, live: Pair, paths: list[str]) -> None:
    for path in paths:
        answer = service.request("OPTIONS", path, live.headers)
        METHOD_NOT_ALLOWED.check(answer, "pair")
        assert "OPTIONS" not in answer.headers["allow"]


def test_no_response_permits_other_origins(service: Service, live: Pair, paths: list[str]) -> None:
    asking = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    for path in paths:
        for method in ("GET", "OPTIONS"):
            for headers in (asking, {**asking, **live.bearer}):
                answer = service.request(method, path, headers)
                assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_static_files(service: Service, live: Pair) -> None:
    for path in ("/static/", "/static/x.js", "/static/../app.py"):
        MISSING.check(service.get(path), "pair")
        NOT_FOUND.check(service.get(path, live.headers), "pair")


def test_other_spellings_of_a_route_get_404(service: Service, live: Pair) -> None:
    for path in ("//v1/account", "//credentials", "///health", "//docs", "/health/"):
        MISSING.check(service.get(path), "pair")
        NOT_FOUND.check(service.get(path, live.headers), "pair")


# In process: what the start refuses.


def _with_view(monkeypatch: pytest.MonkeyPatch, rule: str, view: object, **options: object) -> None:
    """Create the API with an additional view."""
    build = latchkey_service.api.routes.build_api

    def build_with_view(settings: Settings) -> Flask:
        built = build(settings)
        built.add_url_rule(rule, "added", view, **options)  # type: ignore[arg-type]
        return built

    monkeypatch.setattr(latchkey_service.api.routes, "build_api", build_with_view)


def _forgotten() -> str:
    return "open to all?"


@pytest.mark.parametrize("rule", ["/v1/forgotten", "/forgotten/<x>", "/docsx", "/healthy"])
def test_view_that_declares_nothing_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, rule: str
) -> None:
    _with_view(monkeypatch, rule, _forgotten)
    with pytest.raises(ConfigurationError, match=re.escape(rule)):
        create_app(settings, migrate=False)


def test_other_method_of_an_open_route_is_protected_too(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    _with_view(monkeypatch, "/health", _forgotten, methods=["POST"])
    with pytest.raises(ConfigurationError, match="POST /health"):
        create_app(settings, migrate=False)


def test_view_that_declares_itself_starts_and_is_protected(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, live: Pair
) -> None:
    _with_view(monkeypatch, "/v1/remembered", any_credential(lambda: "in"))
    app = create_app(settings, migrate=False)
    with closing(app.extensions["latchkey"].store):
        client = app.test_client()
        assert client.get("/v1/remembered").status_code == 401
        assert client.get("/v1/remembered", headers=live.bearer).text == "in"
