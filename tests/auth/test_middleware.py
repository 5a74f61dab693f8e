"""The middleware in front of plain WSGI applications, checked against PEP 3333 on both sides.

``wsgiref.validate`` wraps the middleware and the application, so that a violation of either
interface is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from latchkey import OpenRoutes, wsgi
from latchkey.box.counter_names import Count
from latchkey.credentials.models import Principal
from latchkey.errors import StoreError
from tests.support.auth.plain_application import PlainApplication, bearer, call, pair
from tests.support.auth.worker import Worker, api_key, derive, forge, new_throttle


@pytest.fixture(params=[False, True], ids=["plain", "compiled"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worker]:
    """With the clocks of a test, the middleware uses the path through Python."""
    worker = Worker(tmp_path / "latchkey.db", real_time=request.param)
    yield worker
    worker.close()


def counted(worker: Worker) -> dict[str, int]:
    """The counters except the number of requests."""
    requests = ("started", "finished")
    return {
        name: value
        for name, value in worker.authenticator.counters.snapshot().items()
        if value and name not in requests
    }


# ---- In front of a plain WSGI application


@pytest.mark.parametrize("scheme", [bearer, pair])
def test_a_valid_credential_is_admitted_with_its_principal(
    worker: Worker, plain: PlainApplication, scheme: Callable[[str], dict[str, str]]
) -> None:
    secret = worker.issue()
    answer = call(wsgi.middleware(validator(plain), worker.authenticator), "/x", scheme(secret))
    assert (answer.status, answer.body) == (200, b"hello")
    [principal] = plain.principals
    assert isinstance(principal, Principal)
    assert principal.api_key == api_key(secret)


@pytest.mark.parametrize("path", ["/", "", "/health", "/docs/", "/static/x", "/..", "//health"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"])
def test_everything_is_denied_by_default(
    worker: Worker, plain: PlainApplication, path: str, method: str
) -> None:
    middleware = wsgi.middleware(plain, worker.authenticator)
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
    middleware = wsgi.middleware(validator(plain), worker.authenticator, open_routes=open_routes)
    admitted = [
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("POST", "/join"),
        ("GET", "/docs/"),
        ("DELETE", "/docs/any/thing"),
    ]
    for method, path in admitted:
        # Invalid credentials are not checked either.
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


def test_a_principal_sent_by_a_client_is_ignored(worker: Worker, plain: PlainApplication) -> None:
    open_routes = OpenRoutes(frozenset({("GET", "/open")}))
    middleware = wsgi.middleware(plain, worker.authenticator, open_routes=open_routes)
    headers = {"latchkey.principal": "me", "Latchkey-Principal": "me"}
    assert call(middleware, "/closed", headers).status == 401
    assert call(middleware, "/open", headers).status == 200
    assert plain.principals == [None]


def test_refusals_in_both_dialects_with_their_challenges(
    worker: Worker, plain: PlainApplication
) -> None:
    middleware = wsgi.middleware(plain, worker.authenticator)
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
    middleware = wsgi.middleware(plain, worker.authenticator)
    get, head = (call(middleware, "/v1/x", method=method) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers == get.headers
    assert int(head.headers["Content-Length"]) == len(get.body) > 0


def test_each_outcome_is_counted(worker: Worker, plain: PlainApplication) -> None:
    middleware = wsgi.middleware(plain, worker.authenticator)
    good = worker.issue()
    for headers in (bearer(good), pair(good), {}, pair(derive(worker.keys.newest))):
        call(middleware, "/", headers)
    counters = worker.authenticator.counters
    outcomes = (Count.AUTHENTICATED, Count.MISSING, Count.INVALID)
    assert [counters.value(outcome) for outcome in outcomes] == [2, 1, 1]


def test_only_invalid_credentials_are_throttled(worker: Worker, plain: PlainApplication) -> None:
    throttle = new_throttle("3/day")
    middleware = wsgi.middleware(plain, worker.authenticator, throttle=throttle)
    good, revoked = worker.issue(), worker.issue()
    worker.revoke(revoked)
    both = {**pair(good), **bearer(good)}
    harmless = [({}, 401), (bearer(revoked), 401), (bearer(good), 200), (both, 400)]
    for headers, status in harmless * 3:
        assert call(middleware, "/v1/x", headers).status == status
    for secret in ("sk_live_x", forge(), derive(worker.keys.newest)):
        assert call(middleware, "/", bearer(secret)).status == 401
    limited = call(middleware, "/v1/x", bearer(forge()))
    assert (limited.status, limited.error["code"]) == (429, "too_many_failures")
    assert limited.error["type"] == "rate_limit_error"
    assert 1 <= int(limited.headers["Retry-After"]) <= 86_400
    assert "WWW-Authenticate" not in limited.headers
    # Only further invalid credentials of the same caller are throttled.
    for headers, status in harmless:
        assert call(middleware, "/v1/x", headers).status == status
    assert call(middleware, "/", bearer(forge()), peer="192.0.2.8").status == 401
    assert call(middleware, "/", pair(forge())).error["code"] == "TOO_MANY_FAILURES"
    assert counted(worker)["too_many_failures"] == 2


def test_a_database_failure_is_reported_and_answered_with_500(
    worker: Worker, plain: PlainApplication
) -> None:
    faults: list[StoreError] = []
    middleware = wsgi.middleware(plain, worker.authenticator, on_fault=faults.append)
    silent = wsgi.middleware(plain, worker.authenticator)
    secret = worker.issue()
    away = worker.path.with_name("away.db")
    worker.path.rename(away)
    for application in (middleware, silent):
        answer = call(application, "/v1/x", bearer(secret))
        assert answer.status == 500
        assert answer.error == {
            "type": "api_error",
            "code": "internal_error",
            "message": "Internal error: the service could not process the request",
        }
        assert "WWW-Authenticate" not in answer.headers
    assert [type(fault) for fault in faults] == [StoreError]
    assert "database" in faults[0].detail
    assert counted(worker)["failed"] == 2
    away.rename(worker.path)
    assert call(middleware, "/v1/x", bearer(secret)).status == 200


# ---- In front of an own application, as in the README
