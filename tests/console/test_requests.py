"""Checks of every request to the console: host, CSRF token, and headers of the response."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.console.visitor import Visitor, make_administrator
from tests.support.service import Service

StartService = Callable[..., Service]
PASSWORD_PAGE = "/console/password/"


def test_a_form_without_its_token_changes_nothing(console: Service, ada: Visitor) -> None:
    other = Visitor(console)
    other.sign_in()
    stranger = Visitor(console)
    foreign = stranger.get("/console/sign-in").fields("/console/sign-in")["csrf_token"]
    for forged in ({}, {"csrf_token": ""}, {"csrf_token": "x"}, {"csrf_token": foreign}):
        answer = ada.post("/console/sign-out-everywhere", forged)
        assert answer.status == 400
        assert "Nothing was changed" in answer.text
    assert ada.is_signed_in()
    assert other.is_signed_in()
    # A form of another browser cannot sign somebody in either.
    forged = {"csrf_token": foreign, "name": "ada", "password": "correct horse battery"}
    assert Visitor(console).post("/console/sign-in", forged).status == 400


def test_every_form_has_a_token(ada: Visitor) -> None:
    for page in (ada.get(PASSWORD_PAGE), Visitor(ada.service).get("/console/sign-in")):
        assert page.forms
        assert all(fields.get("csrf_token") for _, fields in page.forms)


@pytest.mark.parametrize(
    "path", ["/console/", PASSWORD_PAGE, "/console/sign-in", "/console/nowhere"]
)
def test_the_headers_of_a_page(ada: Visitor, path: str) -> None:
    headers = ada.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


def test_no_page_has_inline_code_or_foreign_resources(ada: Visitor) -> None:
    for path in (PASSWORD_PAGE, "/console/sign-in", "/console/nowhere", "/console/set-up"):
        text = ada.get(path).text
        for word in ("<style", "style=", " onclick", " onload", "javascript:", "http:", "https:"):
            assert word not in text, path


def test_static_files_are_cached_and_need_no_session(visitor: Visitor) -> None:
    page = visitor.get("/console/sign-in")
    for name in ("console.css", "console.js", "icon.svg"):
        address = page.text.partition(f'"/console/static/{name}?')[2].partition('"')[0]
        answer = visitor.get(f"/console/static/{name}?{address}")
        assert answer.status == 200
        assert "max-age=31536000" in answer.headers["Cache-Control"]
        assert answer.cookies == []
    assert visitor.get("/console/static/../sessions.py").status == 404
    assert visitor.get("/console/static/nothing.js").status == 404


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "127.0.0.1:x", "", "a b", "[::2]"]
)
def test_another_host_name_is_refused(ada: Visitor, host: str) -> None:
    answer = ada.get(PASSWORD_PAGE, Host=host)
    assert answer.status == 400
    if host:
        assert "ada" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "LOCALHOST", "[::1]:8080"])
def test_names_of_this_machine_are_allowed_with_any_port(ada: Visitor, host: str) -> None:
    assert ada.get(PASSWORD_PAGE, Host=host).status == 200


def test_the_api_accepts_any_host_name_and_sets_no_cookie(ada: Visitor) -> None:
    for path in ("/health", "/v1/account", "/openapi.json"):
        answer = ada.get(path, Host="elsewhere.example")
        assert answer.status in (200, 401)
        assert answer.cookies == []


def test_listed_hosts_and_https_behind_a_proxy(start_service: StartService) -> None:
    service = start_service(
        LATCHKEY_CONSOLE_HOSTS="keys.example, other.example:8443", LATCHKEY_TRUSTED_PROXIES="1"
    )
    make_administrator(service)
    secure = Visitor(service, Host="keys.example", X_Forwarded_Proto="https")
    answer = secure.sign_in()
    assert answer.status == 303
    (cookie,) = answer.cookies
    assert cookie.startswith("__Host-latchkey_console=")
    assert set(cookie.split("; ")[1:]) == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert secure.is_signed_in()
    # The same cookie is not accepted over HTTP.
    assert secure.get(PASSWORD_PAGE, X_Forwarded_Proto="http").status == 303
    for host, status in {
        "other.example:8443": 200,
        "other.example": 400,
        "other.example:80": 400,
        "keys.example:80": 200,
        "localhost": 400,
    }.items():
        assert secure.get(PASSWORD_PAGE, Host=host).status == status, host


def test_a_clients_claim_of_https_is_not_trusted(ada: Visitor) -> None:
    answer = ada.get(PASSWORD_PAGE, X_Forwarded_Proto="https")
    assert answer.status == 200
    assert "Strict-Transport-Security" not in answer.headers


def test_errors_are_pages(ada: Visitor) -> None:
    missing = ada.get("/console/nowhere")
    assert (missing.status, "This page does not exist" in missing.text) == (404, True)
    wrong = ada.request("POST", "/console/static/console.css", b"", {})
    assert (wrong.status, wrong.headers["Content-Type"]) == (405, "text/html; charset=utf-8")
    large = ada.post("/console/sign-in", {"name": "x" * 70_000})
    assert (large.status, "too large" in large.text) == (413, True)


@pytest.mark.parametrize(
    ("framing", "body", "status"),
    [
        ("Content-Length: 70000", b"x" * 70_000, 413),
        ("Transfer-Encoding: chunked", b"11170\r\n" + b"x" * 70_000 + b"\r\n0\r\n\r\n", 413),
        ("Content-Length: 10", b"x", 400),
        ("Transfer-Encoding: chunked", b"1\r\nx", 400),
        ("Transfer-Encoding: chunked", b"nonsense\r\n", 400),
    ],
)
def test_a_form_that_is_too_large_or_incomplete_is_refused(
    console: Service, framing: str, body: bytes, status: int
) -> None:
    head = (
        "POST /console/sign-in HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n{framing}\r\n\r\n"
    )
    answer = console.send_raw(head.encode() + body)
    assert answer.status == status
    assert b"<h1" in answer.body
    assert "unexpected failure" not in console.log
