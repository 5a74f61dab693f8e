"""Every row of the specified table of errors, in both dialects, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from latchkey.credentials.tokens import new_api_key
from tests.support.api.contract import (
    CREDENTIAL_NOT_FOUND,
    DIALECTS,
    DUPLICATE,
    EXPIRED,
    HEADERS_TOO_LARGE,
    INSUFFICIENT_SCOPE,
    INTERNAL_ERROR,
    INVALID,
    INVALID_FIELD,
    INVALID_REQUEST,
    MAX_BODY,
    METHOD_NOT_ALLOWED,
    MISSING,
    NOT_DERIVED,
    NOT_FOUND,
    PAYLOAD_TOO_LARGE,
    REVOKED,
    TOO_MANY_FAILURES,
    UNSUPPORTED_MEDIA_TYPE,
    Dialect,
    derived,
    forged,
    nested,
    present,
    register,
    revoke,
    wire,
)
from tests.support.faults.service_processes import wait_until
from tests.support.service import Pair, Service
from tests.support.times import await_end, in_time

both_dialects = pytest.mark.parametrize("dialect", DIALECTS)
both_paths = pytest.mark.parametrize("path", ["/credentials", "/v1/account"])


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/credentials", "pair"),
        ("/nowhere", "pair"),
        ("/", "pair"),
        ("/v1x", "pair"),
        ("/V1/account", "pair"),
        ("/v1", "bearer"),
        ("/v1/", "bearer"),
        ("/v1/account", "bearer"),
        ("/v1/nowhere", "bearer"),
    ],
)
def test_nothing_presented(service: Service, path: str, dialect: Dialect) -> None:
    MISSING.check(service.get(path), dialect)


@both_paths
@pytest.mark.parametrize("half", ["X-Api-Key", "X-Api-Secret"])
def test_half_of_a_pair(service: Service, live: Pair, path: str, half: str) -> None:
    """Half a pair counts as no credential, but selects the pair dialect on all routes."""
    MISSING.check(service.get(path, {half: live.headers[half]}), "pair")


@both_dialects
@both_paths
def test_malformed_unknown_and_wrong_secret(
    service: Service, live: Pair, path: str, dialect: Dialect
) -> None:
    """Three different causes, with responses that are identical to the byte."""
    malformed = Pair(live.api_key, live.api_secret[:-1])
    answers = [
        service.get(path, present(wrong, dialect))
        for wrong in (malformed, derived(service), forged(live), forged(derived(service)))
    ]
    for answer in answers:
        INVALID.check(answer, dialect, bearer=dialect == "bearer")
        assert answer.body == answers[0].body
        assert sorted(answer.headers) == sorted(answers[0].headers)


@both_dialects
@both_paths
def test_revoked(service: Service, live: Pair, path: str, dialect: Dialect) -> None:
    pair = service.issue()
    assert revoke(service, live, pair.api_key).status == 200
    for _ in range(2):
        REVOKED.check(
            service.get(path, present(pair, dialect)), dialect, bearer=dialect == "bearer"
        )
    # Without a valid secret, the response reveals nothing about the key.
    wrong = present(forged(pair), dialect)
    INVALID.check(service.get(path, wrong), dialect, bearer=dialect == "bearer")


@pytest.fixture(scope="module")
def expired(service: Service, live: Pair) -> Pair:
    """A key that has expired."""
    pair, end = in_time(lambda end: service.issue(expires_at=end.isoformat()))
    await_end(end)
    return pair


@both_dialects
@both_paths
def test_expired(service: Service, expired: Pair, path: str, dialect: Dialect) -> None:
    for _ in range(2):
        EXPIRED.check(
            service.get(path, present(expired, dialect)), dialect, bearer=dialect == "bearer"
        )
    wrong = present(forged(expired), dialect)
    INVALID.check(service.get(path, wrong), dialect, bearer=dialect == "bearer")


def test_registration_of_a_pair_that_was_not_derived(service: Service) -> None:
    for wrong in (
        forged(derived(service)),
        Pair(new_api_key("live"), derived(service).api_secret),
        Pair(derived(service).api_key, derived(service, "test").api_secret),
    ):
        NOT_DERIVED.check(register(service, wrong), "pair")


def test_not_derived_comes_before_duplicate(service: Service, live: Pair) -> None:
    NOT_DERIVED.check(register(service, forged(live)), "pair")


def test_registered_already(service: Service, live: Pair) -> None:
    pair = derived(service)
    assert register(service, pair).status == 201
    DUPLICATE.check(register(service, pair), "pair")
    assert revoke(service, live, pair.api_key).status == 200
    DUPLICATE.check(register(service, pair), "pair")
    REVOKED.check(service.get("/credentials", pair.headers), "pair")


@both_dialects
@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/account", "account:read"),
        ("GET", "/credentials", "credentials:read"),
        ("GET", "/v1/api_keys", "credentials:read"),
        ("POST", "/v1/api_keys", "credentials:write"),
        ("DELETE", "/credentials/ak_live_0000000000000000000000", "credentials:write"),
    ],
)
def test_a_missing_scope(
    service: Service, method: str, path: str, scope: str, dialect: Dialect
) -> None:
    other = "account:read" if scope.startswith("credentials") else "credentials:write"
    pair = service.issue(scopes=[other])
    answer = service.request(method, path, present(pair, dialect))
    INSUFFICIENT_SCOPE.check(answer, dialect, bearer=dialect == "bearer", scope=scope)
    assert scope in answer.json["error"]["message"]


@both_dialects
@pytest.mark.parametrize(
    ("method", "prefix"),
    [("DELETE", "/credentials"), ("DELETE", "/v1/api_keys"), ("GET", "/v1/api_keys")],
)
def test_an_unknown_credential(
    service: Service, live: Pair, test: Pair, method: str, prefix: str, dialect: Dialect
) -> None:
    """Unknown, malformed and other-mode keys get the same response."""
    for api_key in (new_api_key("live"), test.api_key, "ak_live_short", live.api_secret):
        answer = service.request(method, f"{prefix}/{api_key}", present(live, dialect))
        CREDENTIAL_NOT_FOUND.check(answer, dialect)


@both_dialects
@pytest.mark.parametrize("prefix", ["/credentials", "/v1/api_keys"])
def test_credential_that_is_revoked_already(
    service: Service, live: Pair, prefix: str, dialect: Dialect
) -> None:
    path = f"{prefix}/{service.issue().api_key}"
    assert service.request("DELETE", path, present(live, dialect)).status == 200
    CREDENTIAL_NOT_FOUND.check(service.request("DELETE", path, present(live, dialect)), dialect)


@both_dialects
@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/v1", "/v1/nowhere", "/health/", "/v1/account/", "/static/x.js"]
)
def test_an_unknown_route(service: Service, live: Pair, path: str, dialect: Dialect) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        NOT_FOUND.check(service.request(method, path, present(live, dialect)), dialect)


@both_dialects
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET, HEAD"),
        ("PUT", "/credentials", "GET, HEAD, POST"),
        ("GET", "/credentials/x", "DELETE"),
        ("OPTIONS", "/v1/account", "GET, HEAD"),
        ("TRACE", "/v1/account", "GET, HEAD"),
        ("PATCH", "/v1/api_keys", "GET, HEAD, POST"),
        ("PUT", "/v1/api_keys/x", "DELETE, GET, HEAD, PATCH"),
    ],
)
def test_an_unsupported_method(
    service: Service, live: Pair, method: str, path: str, allowed: str, dialect: Dialect
) -> None:
    answer = service.request(method, path, present(live, dialect))
    # Only GET of the health route is open. Its other methods are answered in the credential's
    # dialect, like those of any route.
    METHOD_NOT_ALLOWED.check(answer, dialect)
    assert answer.headers["allow"] == allowed


def test_an_unsupported_method_in_an_open_area(service: Service, live: Pair) -> None:
    answer = service.request("POST", "/docs/", live.bearer)
    METHOD_NOT_ALLOWED.check(answer, "pair")
    assert answer.headers["allow"] == "GET, HEAD"


@both_dialects
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"text"', b"null", b"{}{}", b"{'name':1}", nested(50_000)[:16_000]],
    ids=["empty", "cut", "array", "text", "null", "two", "quotes", "deep"],
)
def test_body_that_is_not_a_json_object(
    service: Service, live: Pair, body: bytes, dialect: Dialect
) -> None:
    headers = {"Content-Type": "application/json", **present(live, dialect)}
    answer = service.request("POST", "/v1/api_keys", headers, body=body)
    INVALID_REQUEST.check(answer, dialect, bearer=dialect == "bearer")
    INVALID_REQUEST.check(
        service.request("POST", "/credentials", {"Content-Type": "application/json"}, body=body),
        "pair",
    )


@both_dialects
def test_json_that_is_too_deep(service: Service, live: Pair, dialect: Dialect) -> None:
    headers = {"Content-Type": "application/json", **present(live, dialect)}
    answer = service.request("POST", "/v1/api_keys", headers, body=nested(8_000))
    INVALID_REQUEST.check(answer, dialect, bearer=dialect == "bearer")


@pytest.mark.parametrize(("path", "dialect"), [("/credentials", "pair"), ("/v1/account", "bearer")])
def test_two_schemes_at_once(
    service: Service, live: Pair, test: Pair, path: str, dialect: Dialect
) -> None:
    for other in (live.headers, test.headers, {"X-Api-Secret": "x"}, {"X-Api-Key": "x"}):
        answer = service.get(path, {**live.bearer, **other})
        INVALID_REQUEST.check(answer, dialect, bearer=True)


@both_dialects
def test_an_invalid_field(service: Service, live: Pair, dialect: Dialect) -> None:
    answer = service.request(
        "POST", "/v1/api_keys", present(live, dialect), json_body={"name": "x", "mode": "prod"}
    )
    INVALID_FIELD.check(answer, dialect, bearer=dialect == "bearer")
    assert "mode" in answer.json["error"]["message"]
    answer = service.get("/credentials?limit=0", present(live, dialect))
    INVALID_FIELD.check(answer, dialect, bearer=dialect == "bearer")
    assert "limit" in answer.json["error"]["message"]


def test_an_invalid_field_of_a_registration(service: Service) -> None:
    pair = derived(service)
    swapped = Pair(pair.api_secret, pair.api_key)
    answer = register(service, swapped)
    INVALID_FIELD.check(answer, "pair")
    assert "api_key" in answer.json["error"]["message"]
    assert pair.api_secret.encode() not in answer.body


@both_dialects
def test_body_that_is_too_large(service: Service, live: Pair, dialect: Dialect) -> None:
    headers = {"Content-Type": "application/json", **present(live, dialect)}
    answer = service.request("POST", "/v1/api_keys", headers, body=b" " * (MAX_BODY + 1))
    PAYLOAD_TOO_LARGE.check(answer, dialect)
    answer = service.request("POST", "/credentials", body=b" " * (MAX_BODY + 1))
    PAYLOAD_TOO_LARGE.check(answer, "pair")


@both_dialects
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=utf-16",
    ],
)
def test_a_body_whose_content_type_is_not_json(
    service: Service, live: Pair, content_type: str | None, dialect: Dialect
) -> None:
    announced = {} if content_type is None else {"Content-Type": content_type}
    answer = service.request(
        "POST", "/v1/api_keys", {**announced, **present(live, dialect)}, body=b'{"name":"x"}'
    )
    UNSUPPORTED_MEDIA_TYPE.check(answer, dialect)
    UNSUPPORTED_MEDIA_TYPE.check(
        service.request("POST", "/credentials", announced, body=b"{}"), "pair"
    )


@pytest.mark.parametrize(("path", "dialect"), [("/health", "pair"), ("/v1/account", "bearer")])
def test_headers_that_are_too_large(service: Service, path: str, dialect: Dialect) -> None:
    HEADERS_TOO_LARGE.check(service.send_raw(wire(f"GET {path}", "X: " + "x" * 65_536)), dialect)
    many = [f"X-{number}: x" for number in range(200)]
    HEADERS_TOO_LARGE.check(service.send_raw(wire(f"GET {path}", *many)), dialect)


@both_dialects
def test_too_many_failures(strict: Service, dialect: Dialect) -> None:
    wrong = present(forged(derived(strict)), dialect)
    from_here = {"X-Forwarded-For": f"192.0.2.{DIALECTS.index(dialect)}, 10.0.0.1", **wrong}
    for _ in range(3):
        INVALID.check(strict.get("/v1/account", from_here), dialect, bearer=dialect == "bearer")
    answer = strict.get("/v1/account", from_here)
    TOO_MANY_FAILURES.check(answer, dialect)
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400


@contextmanager
def database_away(service: Service) -> Iterator[None]:
    """Make the database unusable until the end of the block."""
    with service.rows.away():
        yield


@both_dialects
def test_a_database_failure(closed: Service, dialect: Dialect) -> None:
    """Reads and writes get an internal error, never a refusal, and nothing is cached."""
    known, cold = closed.issue(), closed.issue()
    assert closed.get("/v1/account", present(known, dialect)).status == 200
    with database_away(closed):
        INTERNAL_ERROR.check(closed.get("/v1/account", present(cold, dialect)), dialect)
        INTERNAL_ERROR.check(closed.get("/credentials", present(known, dialect)), dialect)
        INTERNAL_ERROR.check(
            closed.request("DELETE", f"/credentials/{cold.api_key}", present(known, dialect)),
            dialect,
        )
        INTERNAL_ERROR.check(
            closed.request(
                "POST", "/v1/api_keys", present(known, dialect), json_body={"name": "x"}
            ),
            dialect,
        )
    # Connections to PostgreSQL are tried again after a pause.
    answers: list[int] = []

    def is_decided() -> bool:
        answers.append(closed.get("/v1/account", present(cold, dialect)).status)
        return answers[-1] != 500

    wait_until(is_decided, "the recovery")
    assert answers[-1] == 200


def test_readiness_reports_a_database_failure(closed: Service) -> None:
    with database_away(closed):
        answer = closed.get("/ready")
    assert answer.status == 503
    assert answer.json["error"]["type"] == "api_error"
    assert closed.get("/health").status == 200
    wait_until(lambda: closed.get("/ready").status == 200, "the recovery")
