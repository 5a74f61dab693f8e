"""Sign-in and sign-out: sessions, cookies, expiry, and responses to wrong attempts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from latchkey_service.console.sign_in import own_page
from tests.support.console.visitor import PASSWORD, Visitor, admin, make_administrator
from tests.support.service import Service

StartService = Callable[..., Service]
COOKIE = "latchkey_console"


@pytest.fixture
def ada(console: Service) -> Visitor:
    """The administrator, signed in for one test, because some tests end the session."""
    signed_in = Visitor(console)
    assert signed_in.sign_in().status == 303
    return signed_in


def test_signing_in_starts_a_session_with_a_new_token(console: Service, visitor: Visitor) -> None:
    visitor.get("/console/sign-in")
    before = visitor.cookies[COOKIE]
    answer = visitor.sign_in()
    assert (answer.status, answer.location) == (303, "/console/")
    (cookie,) = answer.cookies
    assert visitor.cookies[COOKIE] not in (before, "")
    terms = set(cookie.split("; ")[1:])
    # A cookie without an age is deleted when the browser is closed.
    assert terms == {"HttpOnly", "Path=/console/", "SameSite=Lax"}
    assert visitor.is_signed_in()
    # The token from before the sign-in is not signed in.
    visitor.cookies[COOKIE] = before
    assert not visitor.is_signed_in()


def test_no_file_contains_the_token_or_the_password(console: Service, ada: Visitor) -> None:
    ada.get("/console/password/")
    kept = b"".join(path.read_bytes() for path in console.database.parent.iterdir())
    for secret in (ada.cookies[COOKIE], PASSWORD):
        assert secret.encode() not in kept
        assert secret not in console.log
    with closing(sqlite3.connect(console.database)) as connection:
        (hashed,) = connection.execute("SELECT password_hash FROM administrator").fetchone()
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_response_does_not_tell_a_wrong_name_from_a_wrong_password(
    console: Service, visitor: Visitor
) -> None:
    make_administrator(console, "gone")
    assert admin(console, "disable", "gone").returncode == 0
    tries = {
        "wrong password": ("ada", "wrong"),
        "unknown name": ("nobody", PASSWORD),
        "disabled": ("gone", PASSWORD),
        "no name at all": ("\x00", PASSWORD),
        "a password without end": ("ada", "x" * 30_000),
    }
    told = set()
    for case, (name, password) in tries.items():
        answer = visitor.sign_in(name, password)
        assert answer.status == 403, case
        told.add(answer.text.replace(f'value="{name}"', 'value=""').partition("<main")[2])
        assert not visitor.is_signed_in()
    pages = {page.partition("csrf_token")[0] for page in told}
    assert len(pages) == 1
    assert "Wrong name or password." in pages.pop()


def test_names_are_case_insensitive(visitor: Visitor) -> None:
    assert visitor.sign_in(" ADA").status in (303, 403)
    assert visitor.sign_in("ADA").status == 303


def test_the_sign_in_returns_to_the_requested_page(visitor: Visitor) -> None:
    asked = visitor.get("/console/password/")
    assert asked.location == "/console/sign-in?next=/console/password/"
    page = visitor.get(asked.location)
    action = "/console/sign-in"
    fields = {**page.fields(action), "name": "ada", "password": PASSWORD}
    assert visitor.post(action, fields).location == "/console/password/"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/console//elsewhere.example/",
        "/\\elsewhere.example",
        "/console/../v1/account",
        "/console/\r\nX: y",
        "javascript:alert(1)",
        "/v1/account",
        "/console/..",
        "/console/./keys",
        "/console/keys//",
        "/console//",
        "/console/keys/?a=\x00",
        "/console/keys/?a=b?c",
        "/console/" + "a" * 40 + "!",
        "/console/" + "a/" * 2_000,
    ],
)
def test_foreign_urls_are_not_pages_of_the_console(elsewhere: str) -> None:
    assert own_page(elsewhere) is None


@pytest.mark.parametrize(
    "page",
    [
        "/console/",
        "/console/keys",
        "/console/keys/ak_live_a.b/",
        "/console/?",
        "/console/keys/?q=%20",
    ],
)
def test_urls_of_the_console_are_pages_of_the_console(page: str) -> None:
    assert own_page(page) == page


def test_a_hostile_url_does_not_block_a_worker(console: Service, visitor: Visitor) -> None:
    for length in (40, 3_000):
        answer = visitor.get("/console/sign-in?next=/console/" + "a" * length + "!")
        assert answer.status == 200
    assert console.get("/health").status == 200


def test_the_sign_in_never_redirects_to_a_foreign_url(visitor: Visitor) -> None:
    assert visitor.sign_in(next="https://elsewhere.example/").location == "/console/"


def test_signing_out_ends_the_stored_session(ada: Visitor) -> None:
    token = ada.cookies[COOKIE]
    answer = ada.send("/console/password/", "/console/sign-out")
    assert (answer.status, answer.location) == (303, "/console/sign-in")
    assert COOKIE not in ada.cookies
    ada.cookies[COOKIE] = token
    assert not ada.is_signed_in()


def test_signing_out_everywhere(console: Service, ada: Visitor) -> None:
    other = Visitor(console)
    other.sign_in()
    assert other.is_signed_in()
    ada.send("/console/password/", "/console/sign-out-everywhere")
    assert not other.is_signed_in()
    assert not ada.is_signed_in()


def test_a_changed_password_ends_the_other_sessions(console: Service) -> None:
    make_administrator(console, "grace")
    here, there = Visitor(console), Visitor(console)
    for visitor in (here, there):
        assert visitor.sign_in("grace").status == 303
    token = here.cookies[COOKIE]
    passwords = "/console/password/"
    fields = {"password": "another horse battery", "again": "another horse battery"}
    wrong = here.send(passwords, passwords, current="wrong", **fields)
    assert (wrong.status, "not your current password" in wrong.text) == (403, True)
    short = here.send(passwords, passwords, current=PASSWORD, password="short", again="short")
    assert short.status == 400
    unequal = here.send(passwords, passwords, **{**fields, "current": PASSWORD, "again": "x" * 12})
    assert unequal.status == 400
    assert there.is_signed_in()
    changed = here.send(passwords, passwords, current=PASSWORD, **fields)
    assert changed.status == 303
    assert "Password changed" in here.get(passwords).text
    assert "Password changed" not in here.get(passwords).text
    assert here.cookies[COOKIE] != token
    assert not there.is_signed_in()
    assert there.sign_in("grace").status == 403
    assert there.sign_in("grace", "another horse battery").status == 303


def test_a_disabled_or_removed_administrator_is_signed_out_immediately(console: Service) -> None:
    make_administrator(console, "joan")
    visitor = Visitor(console)
    visitor.sign_in("joan")
    assert admin(console, "disable", "joan").returncode == 0
    assert not visitor.is_signed_in()
    assert admin(console, "enable", "joan").returncode == 0
    assert not visitor.is_signed_in()
    assert visitor.sign_in("joan").status == 303
    assert admin(console, "password", "joan", password="new horse battery").returncode == 0
    assert not visitor.is_signed_in()
    assert visitor.sign_in("joan", "new horse battery").status == 303
    assert admin(console, "remove", "joan", "--yes").returncode == 0
    assert not visitor.is_signed_in()
    assert visitor.sign_in("joan", "new horse battery").status == 403


def test_a_session_expires_without_use_and_after_its_maximum_age(
    start_service: StartService,
) -> None:
    service = start_service(LATCHKEY_CONSOLE_IDLE="1000", LATCHKEY_CONSOLE_SESSION="5000")
    make_administrator(service)
    visitor = Visitor(service)

    def age(*columns: str, by: int) -> None:
        """Change the start or the last use of the session to this many seconds ago."""
        change = ", ".join(f"{column} = {column} - {by * 1000}" for column in columns)
        with closing(sqlite3.connect(service.database)) as connection, connection:
            connection.execute(f"UPDATE console_session SET {change}")

    visitor.sign_in()
    for _ in range(2):
        # Each use extends the session.
        age("seen_at", by=900)
        assert visitor.is_signed_in()
    age("seen_at", by=1001)
    assert not visitor.is_signed_in()
    visitor.sign_in()
    age("created_at", by=4800)
    assert visitor.is_signed_in()
    age("created_at", by=201)
    assert not visitor.is_signed_in()
    # The clock was set back after the start of the session.
    visitor.sign_in()
    age("created_at", "seen_at", by=-500)
    assert not visitor.is_signed_in()
    # Expired sessions are deleted at the next sign-in.
    age("created_at", by=6000)
    visitor.sign_in()
    with closing(sqlite3.connect(service.database)) as connection:
        assert connection.execute("SELECT count(*) FROM console_session").fetchone() == (1,)


def test_sessions_survive_a_restart_and_are_valid_in_every_worker(
    start_service: StartService,
) -> None:
    service = start_service(LATCHKEY_WORKERS="2")
    make_administrator(service)
    visitor = Visitor(service)
    visitor.sign_in()
    form = visitor.get("/console/password/").fields("/console/sign-out")
    service.stop()
    service.start()
    assert all(visitor.is_signed_in() for _ in range(8))
    assert visitor.post("/console/sign-out", form).status == 303
    assert not visitor.is_signed_in()


def test_attempts_are_limited_by_address_and_by_name(start_service: StartService) -> None:
    service = start_service(
        LATCHKEY_SIGN_IN_LIMIT="1/day", LATCHKEY_TRUSTED_PROXIES="1", LATCHKEY_WORKERS="2"
    )
    make_administrator(service)

    def tries(address: str, name: str, password: str) -> int:
        return Visitor(service, X_Forwarded_For=address).sign_in(name, password).status

    assert [tries("192.0.2.1", "ada", "wrong") for _ in range(2)] == [403, 429]
    # Over the limit, correct passwords and other names are refused too.
    assert tries("192.0.2.1", "ada", PASSWORD) == 429
    assert tries("192.0.2.1", "nobody", "wrong") == 429
    # In all notations of the address that a proxy may use.
    for form in ("192.0.2.1:5678", '"[::ffff:192.0.2.1]:80"'):
        assert tries(form, "nobody", "wrong") == 429
    assert tries("192.0.2.2", "ada", PASSWORD) == 303
    # For one name, five times as many from any addresses; attempts refused by address do not count.
    assert [tries(f"192.0.2.{number}", "Ada", "wrong") for number in range(10, 13)] == [403] * 3
    limited = Visitor(service, X_Forwarded_For="192.0.2.99").sign_in("ada", PASSWORD)
    assert limited.status == 429
    assert 0 < int(limited.headers["Retry-After"]) <= 86_400
    assert "Too many attempts" in limited.text
    assert tries("192.0.2.98", "nobody", "wrong") == 403
    # Credentials of the API are not affected.
    assert service.get("/v1/account", service.issue().bearer).status == 200


def test_a_database_failure_shows_an_error_page(start_service: StartService) -> None:
    service = start_service(LATCHKEY_WORKERS="1")
    make_administrator(service)
    visitor = Visitor(service)
    visitor.sign_in()
    away = service.database.with_suffix(".away")
    service.database.rename(away)
    page = visitor.get("/console/password/")
    assert page.status == 500
    assert "The database is not available" in page.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert str(service.database) not in page.text
    away.rename(service.database)
    assert visitor.is_signed_in()
