"""The middleware before plain WSGI applications, held to PEP 3333 on both sides, and before Flask.

``wsgiref.validate`` stands outside the middleware and inside it, so that a slip of either
interface is an error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from flask import Flask, abort
from werkzeug.test import TestResponse

from app.assembly import Latchkey
from app.auth import (
    AuthMiddleware,
    OpenRoutes,
    any_credential,
    current_principal,
    require_scope,
)
from app.auth.counts import Count
from app.auth.requirements import check_declarations
from app.config import Settings
from app.credentials.models import Principal
from app.errors import ConfigurationError, StoreError
from tests.audited import TESTER, audit_files
from tests.auth.worker import Worker, api_key, derive, forge, new_throttle
from tests.database import new_database


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        return error


class PlainApplication:
    """A WSGI application of somebody's own; remembers what it was called with."""

    def __init__(self) -> None:
        self.environs: list[WSGIEnvironment] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        self.environs.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"hello"]

    @property
    def principals(self) -> list[Any]:
        return [environ["latchkey.principal"] for environ in self.environs]


def call(
    application: Any,
    path: str = "/",
    headers: dict[str, str] | None = None,
    method: str = "GET",
    peer: str = "192.0.2.7",
) -> Answer:
    """One request through the validator, as a server makes it."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "REMOTE_ADDR": peer,
    }
    setup_testing_defaults(environ)
    for name, value in (headers or {}).items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, response_headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        started.append((status, response_headers))
        return lambda data: None

    iterable = validator(application)(environ, start_response)
    body = b"".join(iterable)
    iterable.close()  # type: ignore[attr-defined]
    [(status, response_headers)] = started
    return Answer(int(status.split()[0]), dict(response_headers), body)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def pair(secret: str) -> dict[str, str]:
    return {"X-Api-Key": api_key(secret), "X-Api-Secret": secret}


@pytest.fixture(params=[False, True], ids=["plain", "compiled"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worker]:
    """With clocks of the test's own the middleware takes the way through Python."""
    worker = Worker(tmp_path / "latchkey.db", real_time=request.param)
    yield worker
    worker.close()


@pytest.fixture
def plain() -> PlainApplication:
    return PlainApplication()


def counted(worker: Worker) -> dict[str, int]:
    """What was counted besides the requests themselves."""
    requests = ("started", "finished")
    return {
        name: value
        for name, value in worker.authenticator.counters.snapshot().items()
        if value and name not in requests
    }


# ---- Before a plain WSGI application


@pytest.mark.parametrize("scheme", [bearer, pair])
def test_a_good_credential_gets_through_with_its_principal(
    worker: Worker, plain: PlainApplication, scheme: Callable[[str], dict[str, str]]
) -> None:
    secret = worker.issue()
    answer = call(AuthMiddleware(validator(plain), worker.authenticator), "/x", scheme(secret))
    assert (answer.status, answer.body) == (200, b"hello")
    [principal] = plain.principals
    assert isinstance(principal, Principal)
    assert principal.api_key == api_key(secret)


@pytest.mark.parametrize("path", ["/", "", "/health", "/docs/", "/static/x", "/..", "//health"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"])
def test_everything_is_denied_by_default(
    worker: Worker, plain: PlainApplication, path: str, method: str
) -> None:
    middleware = AuthMiddleware(plain, worker.authenticator)
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    body = middleware(environ, lambda status, headers, exc_info=None: statuses.append(status))  # type: ignore[arg-type]
    assert statuses == ["401 Unauthorized"]
    assert (b"".join(body) == b"") == (method == "HEAD")
    assert plain.environs == []
    assert counted(worker) == {"missing": 1}


def test_open_routes_carry_no_principal(worker: Worker, plain: PlainApplication) -> None:
    open_routes = OpenRoutes(frozenset({("GET", "/health"), ("POST", "/join")}), ("/docs/",))
    middleware = AuthMiddleware(validator(plain), worker.authenticator, open_routes=open_routes)
    admitted = [
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("POST", "/join"),
        ("GET", "/docs/"),
        ("DELETE", "/docs/any/thing"),
    ]
    for method, path in admitted:
        # Not even a bad credential is looked at.
        assert call(middleware, path, bearer("nonsense"), method).status == 200
    assert plain.principals == [None] * len(admitted)
    assert counted(worker) == {"open": len(admitted)}
    plain.environs.clear()
    denied = [
        ("POST", "/health"),
        ("OPTIONS", "/health"),
        ("GET", "/join"),
        ("HEAD", "/join"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/HEALTH"),
        ("GET", "/docs"),
        ("GET", "/x/docs/"),
    ]
    for method, path in denied:
        assert call(middleware, path, method=method).status == 401
    assert plain.environs == []


def test_a_principal_from_outside_counts_for_nothing(
    worker: Worker, plain: PlainApplication
) -> None:
    open_routes = OpenRoutes(frozenset({("GET", "/open")}))
    middleware = AuthMiddleware(plain, worker.authenticator, open_routes=open_routes)
    headers = {"latchkey.principal": "me", "Latchkey-Principal": "me"}
    assert call(middleware, "/closed", headers).status == 401
    assert call(middleware, "/open", headers).status == 200
    assert plain.principals == [None]


def test_refusals_in_both_dialects_with_their_challenges(
    worker: Worker, plain: PlainApplication
) -> None:
    middleware = AuthMiddleware(plain, worker.authenticator)
    good, revoked = worker.issue(), worker.issue()
    worker.revoke(revoked)
    realm = 'Bearer realm="latchkey"'
    bad_token, bad_request = f'{realm}, error="invalid_token"', f'{realm}, error="invalid_request"'
    missing, invalid = "No API key provided", "Invalid API key provided"
    ended = "API key has been revoked"
    both = {**pair(good), **bearer(good)}
    two = "Two credentials: send Authorization: Bearer, or X-Api-Key with X-Api-Secret"
    cases = [
        ("/", {}, 401, "UNAUTHORIZED", missing, realm),
        ("/v1/x", {}, 401, "missing_api_key", missing, realm),
        ("/", pair(forge()), 401, "UNAUTHORIZED", invalid, realm),
        ("/", bearer(forge()), 401, "invalid_api_key", invalid, bad_token),
        ("/v1/x", pair(forge(good)), 401, "UNAUTHORIZED", invalid, realm),
        ("/v1/x", bearer(revoked), 401, "key_revoked", ended, bad_token),
        ("/", pair(revoked), 401, "UNAUTHORIZED", ended, realm),
        ("/v1/x", both, 400, "invalid_request", two, bad_request),
        ("/", both, 400, "INVALID_REQUEST", two, bad_request),
    ]
    for path, headers, status, code, message, challenge in cases:
        answer = call(middleware, path, headers)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert answer.error["message"] == message
        assert answer.headers["WWW-Authenticate"] == challenge
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Length"] == str(len(answer.body))
    assert plain.environs == []
    assert counted(worker) == {
        "missing": 2, "invalid": 3, "revoked": 2, "ambiguous": 2,
        "forged": 3, "cache_hit": 1, "cache_miss": 1, "store_select": 1,
    }  # fmt: skip


def test_a_refused_head_has_the_headers_and_no_body(
    worker: Worker, plain: PlainApplication
) -> None:
    middleware = AuthMiddleware(plain, worker.authenticator)
    get, head = (call(middleware, "/v1/x", method=method) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers == get.headers
    assert int(head.headers["Content-Length"]) == len(get.body) > 0


def test_each_outcome_is_counted(worker: Worker, plain: PlainApplication) -> None:
    middleware = AuthMiddleware(plain, worker.authenticator)
    good = worker.issue()
    for headers in (bearer(good), pair(good), {}, pair(derive(worker.keys.newest))):
        call(middleware, "/", headers)
    counters = worker.authenticator.counters
    outcomes = (Count.AUTHENTICATED, Count.MISSING, Count.INVALID)
    assert [counters.value(outcome) for outcome in outcomes] == [2, 1, 1]


def test_only_invalid_credentials_are_throttled(worker: Worker, plain: PlainApplication) -> None:
    throttle = new_throttle("3/hour")
    middleware = AuthMiddleware(plain, worker.authenticator, throttle=throttle)
    good, revoked = worker.issue(), worker.issue()
    worker.revoke(revoked)
    both = {**pair(good), **bearer(good)}
    harmless = [({}, 401), (bearer(revoked), 401), (bearer(good), 200), (both, 400)]
    for headers, status in harmless * 3:
        assert call(middleware, "/v1/x", headers).status == status
    for secret in ("sk_live_x", forge(), derive(worker.keys.newest)):
        assert call(middleware, "/", bearer(secret)).status == 401
    limited = call(middleware, "/v1/x", bearer(forge()))
    assert (limited.status, limited.error["code"]) == (429, "rate_limited")
    assert limited.error["type"] == "rate_limit_error"
    assert 1 <= int(limited.headers["Retry-After"]) <= 3600
    assert "WWW-Authenticate" not in limited.headers
    # Nothing but another invalid one is held up, and nobody else's.
    for headers, status in harmless:
        assert call(middleware, "/v1/x", headers).status == status
    assert call(middleware, "/", bearer(forge()), peer="192.0.2.8").status == 401
    assert call(middleware, "/", pair(forge())).error["code"] == "RATE_LIMITED"
    assert counted(worker)["rate_limited"] == 2


def test_a_database_failure_is_told_and_answered_500(
    worker: Worker, plain: PlainApplication
) -> None:
    faults: list[StoreError] = []
    middleware = AuthMiddleware(plain, worker.authenticator, on_fault=faults.append)
    silent = AuthMiddleware(plain, worker.authenticator)
    secret = worker.issue()
    away = worker.path.with_name("away.db")
    worker.path.rename(away)
    for application in (middleware, silent):
        answer = call(application, "/v1/x", bearer(secret))
        assert answer.status == 500
        assert answer.error == {
            "type": "api_error",
            "code": "internal_error",
            "message": "Something went wrong on our side",
        }
        assert "WWW-Authenticate" not in answer.headers
    assert [type(fault) for fault in faults] == [StoreError]
    assert "database" in faults[0].detail
    assert counted(worker)["failed"] == 2
    away.rename(worker.path)
    assert call(middleware, "/v1/x", bearer(secret)).status == 200


# ---- Before an application of one's own, as the README shows it


@pytest.fixture
def latchkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Latchkey]:
    """Built from the environment, as somebody's own service builds it."""
    monkeypatch.setenv("LATCHKEY_DATABASE_URL", new_database(tmp_path / "latchkey.db"))
    monkeypatch.setenv("LATCHKEY_DERIVATION_KEYS", "1f" * 32)
    for name, value in audit_files(tmp_path / "secrets").items():
        monkeypatch.setenv(name, value)
    latchkey = Latchkey.from_settings()
    yield latchkey
    latchkey.store.close()


def shop() -> Flask:
    """Somebody's own Flask application, not yet protected."""
    flask = Flask("shop")

    @flask.get("/orders")
    @require_scope("account:read")
    def list_orders() -> dict[str, str]:
        return {"key": current_principal.api_key, "mode": current_principal.mode}

    @flask.post("/orders")
    @require_scope("account:write")
    def add_order() -> dict[str, str]:
        return {}

    @flask.get("/whoami")
    @any_credential
    def show_caller() -> dict[str, str | None]:
        return {"name": current_principal.name}

    @flask.get("/keys/<key>")
    @require_scope("credentials:read", or_own="key")
    def show_key(key: str) -> dict[str, str]:
        return {"key": key}

    @flask.get("/forgotten")
    def forgotten() -> dict[str, str]:
        return {"secret": "plans"}

    @flask.get("/open")
    def open_view() -> dict[str, bool]:
        try:
            current_principal.api_key  # noqa: B018 - asked for its error
        except RuntimeError:
            return {"principal": False}
        return {"principal": True}

    @flask.get("/broken")
    @any_credential
    def broken() -> dict[str, str]:
        raise ValueError("a bug")

    @flask.get("/taken")
    @any_credential
    def taken() -> dict[str, str]:
        abort(409)

    return flask


OPEN = OpenRoutes(frozenset({("GET", "/open")}))


def test_an_application_of_ones_own(latchkey: Latchkey) -> None:
    flask = shop()
    latchkey.protect(flask, OPEN)
    assert flask.extensions["latchkey"] is latchkey
    assert isinstance(flask.wsgi_app, AuthMiddleware)
    client = flask.test_client()
    issued = latchkey.credentials.issue(
        name="reader", caller=None, scopes=frozenset({"account:read"}), by=TESTER
    )
    key, reader = issued.credential.api_key, bearer(issued.secret)

    answer = client.get("/orders", headers=reader)
    assert (answer.status_code, answer.json) == (200, {"key": key, "mode": "live"})
    assert client.get("/orders", headers=pair(issued.secret)).status_code == 200
    assert client.get("/orders", headers={}).status_code == 401
    assert client.get("/nowhere").status_code == 401
    assert client.get("/nowhere", headers=reader).status_code == 404
    assert client.get("/whoami", headers=reader).json == {"name": "reader"}

    denied = client.post("/orders", headers=reader)
    assert (denied.status_code, _code(denied)) == (403, "insufficient_scope")
    assert denied.headers["WWW-Authenticate"] == (
        'Bearer realm="latchkey", error="insufficient_scope", scope="account:write"'
    )
    assert _code(client.post("/orders", headers=pair(issued.secret))) == "INSUFFICIENT_SCOPE"

    wrong_method = client.delete("/orders", headers=reader)
    assert wrong_method.status_code == 405
    assert set(wrong_method.headers["Allow"].split(", ")) >= {"GET", "POST"}

    # A view argument may name the caller's own key.
    assert client.get(f"/keys/{key}", headers=reader).status_code == 200
    assert client.get("/keys/another", headers=reader).status_code == 403

    assert client.get("/open").json == {"principal": False}
    latchkey.credentials.revoke(key, None, by=TESTER)
    assert _code(client.get("/orders", headers=reader)) == "key_revoked"


def test_a_view_that_declares_nothing_is_refused(
    latchkey: Latchkey, caplog: pytest.LogCaptureFixture
) -> None:
    flask = shop()
    latchkey.protect(flask, OPEN)
    secret = latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret
    with caplog.at_level(logging.ERROR, "latchkey"):
        answer = flask.test_client().get("/forgotten", headers=bearer(secret))
    assert answer.status_code == 500
    assert b"plans" not in answer.data
    assert "forgotten" in caplog.text
    assert "declares no requirement" in caplog.text
    assert secret not in caplog.text


def test_a_view_that_declares_nothing_can_stop_the_start(latchkey: Latchkey) -> None:
    flask = shop()
    latchkey.protect(flask, OPEN)
    with pytest.raises(ConfigurationError, match="GET /forgotten declares no requirement"):
        check_declarations(flask, OpenRoutes(OPEN.routes, ("/static/",)))
    rest = OpenRoutes(OPEN.routes | {("GET", "/forgotten")}, ("/static/",))
    with pytest.raises(ConfigurationError, match="OPTIONS /"):
        # Flask answers OPTIONS by itself, also for a view that is open for GET only.
        check_declarations(flask, rest)
    options = {("OPTIONS", path) for path in ("/open", "/forgotten")}
    check_declarations(flask, OpenRoutes(rest.routes | options, ("/static/",)))


def test_errors_of_ones_own_application_stay_its_own(latchkey: Latchkey) -> None:
    flask = shop()
    flask.register_error_handler(409, lambda error: ("taken, sorry", 409))
    latchkey.protect(flask)
    client = flask.test_client()
    headers = bearer(latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret)
    taken = client.get("/taken", headers=headers)
    assert (taken.status_code, taken.data) == (409, b"taken, sorry")
    broken = client.get("/broken", headers=headers)
    assert (broken.status_code, broken.mimetype) == (500, "text/html")


def test_a_declaration_holds_where_the_path_is_open(latchkey: Latchkey) -> None:
    flask = shop()
    mistaken = OpenRoutes(frozenset({("GET", "/whoami"), ("HEAD", "/whoami")}))
    latchkey.protect(flask, mistaken)
    answer = flask.test_client().get("/whoami")
    assert (answer.status_code, _code(answer)) == (401, "UNAUTHORIZED")
    with pytest.raises(ConfigurationError, match=r"declares a requirement, but it is open"):
        check_declarations(flask, OpenRoutes(areas=("/",)))


def test_nothing_is_served_past_the_middleware(latchkey: Latchkey) -> None:
    flask = shop()
    inner = flask.wsgi_app
    latchkey.protect(flask)
    flask.wsgi_app = inner  # type: ignore[method-assign]
    for path in ("/whoami", "/forgotten", "/open"):
        assert flask.test_client().get(path).status_code == 500


def test_a_wsgi_application_of_ones_own(latchkey: Latchkey, plain: PlainApplication) -> None:
    protected = latchkey.middleware(validator(plain))
    secret = latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret
    assert call(protected, "/any").status == 401
    assert call(protected, "/any", bearer(secret)).body == b"hello"
    assert plain.principals[0].name == "all"


def test_the_log_hears_of_a_database_failure(
    latchkey: Latchkey, plain: PlainApplication, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret
    (tmp_path / "latchkey.db").rename(tmp_path / "away.db")
    with caplog.at_level(logging.ERROR, "latchkey"):
        assert call(latchkey.middleware(plain), "/any", bearer(secret)).status == 500
    assert "database failure" in caplog.text
    assert secret not in caplog.text


def test_an_unknown_scope_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(ValueError, match="unknown scope 'orders:fly'"):
        require_scope("orders:fly")


def test_settings_may_be_given_instead_of_the_environment(tmp_path: Path) -> None:
    audit_files(tmp_path / "secrets")
    settings = Settings(
        database_url=new_database(tmp_path / "latchkey.db"),
        audit_key_file=tmp_path / "secrets" / "audit.key",
        audit_head_file=tmp_path / "secrets" / "audit.head",
        derivation_keys="ab" * 32,  # type: ignore[arg-type]
        cache_backend="none",
        failure_limit="off",
    )
    latchkey = Latchkey.from_settings(settings)
    secret = latchkey.credentials.issue(name="x", caller=None, by=TESTER).secret
    assert call(latchkey.middleware(PlainApplication()), "/", bearer(secret)).status == 200
    latchkey.store.close()


def _code(answer: TestResponse) -> str:
    code: str = answer.get_json()["error"]["code"]
    return code
