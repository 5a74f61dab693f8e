"""Precedence of errors: each pair of neighbouring checks.

The order is: 400 for the credential, 401 or 429, 404 or 405 for the route, 403 for the scope, 413,
415, 400 for the body, and last 404 or 409 for the object.
"""

from __future__ import annotations

import pytest

from latchkey.credentials.tokens import new_api_key
from tests.support.api.contract import (
    CREDENTIAL_NOT_FOUND,
    DIALECTS,
    DUPLICATE,
    INSUFFICIENT_SCOPE,
    INVALID,
    INVALID_FIELD,
    INVALID_REQUEST,
    MAX_BODY,
    METHOD_NOT_ALLOWED,
    MISSING,
    NOT_DERIVED,
    NOT_FOUND,
    PAYLOAD_TOO_LARGE,
    TOO_MANY_FAILURES,
    UNSUPPORTED_MEDIA_TYPE,
    Dialect,
    derived,
    encode,
    forged,
    present,
    register,
)
from tests.support.service import Pair, Service

both_dialects = pytest.mark.parametrize("dialect", DIALECTS)
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
TOO_LARGE = b"x" * (MAX_BODY + 1)


@pytest.fixture(scope="module")
def reader(service: Service) -> Pair:
    """A key that can read credentials but not change them."""
    return service.issue(scopes=["credentials:read"])


@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
@pytest.mark.parametrize("path", ["/credentials/x", "/v1/nowhere", "/v1/account"])
def test_400_for_the_credential_before_401(
    service: Service, live: Pair, method: str, path: str
) -> None:
    """Two invalid credentials are still two."""
    wrong = forged(live)
    answer = service.request(method, path, {**wrong.bearer, **wrong.headers})
    INVALID_REQUEST.check(answer, "bearer" if path.startswith("/v1") else "pair", bearer=True)


def test_400_for_the_credential_before_429(strict: Service) -> None:
    wrong = forged(derived(strict))
    address = {"X-Forwarded-For": "192.0.2.40, 10.0.0.1"}
    for _ in range(4):
        last = strict.get("/v1/account", {**wrong.bearer, **address})
    TOO_MANY_FAILURES.check(last, "bearer")
    both = {**wrong.bearer, **wrong.headers, **address}
    INVALID_REQUEST.check(strict.get("/v1/account", both), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(strict.get("/v1/nowhere", {**wrong.bearer, **address}), "bearer")
    TOO_MANY_FAILURES.check(strict.request("PUT", "/health", {**wrong.headers, **address}), "pair")


@both_dialects
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nowhere"), ("GET", "/v1/nowhere"), ("PUT", "/v1/account"), ("POST", "/health")],
)
def test_401_before_404_and_405(
    service: Service, live: Pair, method: str, path: str, dialect: Dialect
) -> None:
    answer = service.request(method, path, present(forged(live), dialect), body=TOO_LARGE)
    INVALID.check(answer, dialect, bearer=dialect == "bearer")
    MISSING.check(service.request(method, path), "bearer" if path.startswith("/v1") else "pair")


@both_dialects
def test_404_and_405_for_the_route_before_403(
    service: Service, reader: Pair, dialect: Dialect
) -> None:
    """A key without the scopes of any such route gets 404 or 405, too."""
    headers = {**TEXT, **present(reader, dialect)}
    NOT_FOUND.check(service.request("POST", "/v1/nowhere", headers, body=TOO_LARGE), dialect)
    METHOD_NOT_ALLOWED.check(service.request("POST", "/v1/account", headers, body=b"{"), dialect)


@both_dialects
@pytest.mark.parametrize("body", [TOO_LARGE, b"{", b""], ids=["large", "cut", "empty"])
@pytest.mark.parametrize("announced", [JSON, TEXT, {}], ids=["json", "text", "none"])
def test_403_before_413_and_415_and_400(
    service: Service, reader: Pair, announced: dict[str, str], body: bytes, dialect: Dialect
) -> None:
    headers = {**announced, **present(reader, dialect)}
    answer = service.request("POST", "/v1/api_keys", headers, body=body)
    INSUFFICIENT_SCOPE.check(answer, dialect, bearer=dialect == "bearer", scope="credentials:write")


@both_dialects
def test_403_before_400_for_the_query(service: Service, dialect: Dialect) -> None:
    pair = service.issue(scopes=["account:read"])
    for path in ("/credentials?limit=0", "/v1/api_keys?cursor=x"):
        answer = service.get(path, present(pair, dialect))
        INSUFFICIENT_SCOPE.check(
            answer, dialect, bearer=dialect == "bearer", scope="credentials:read"
        )


@both_dialects
def test_403_before_404_for_the_object(service: Service, reader: Pair, dialect: Dialect) -> None:
    for path in (f"/credentials/{new_api_key('live')}", "/v1/api_keys/x"):
        answer = service.request("DELETE", path, present(reader, dialect))
        INSUFFICIENT_SCOPE.check(
            answer, dialect, bearer=dialect == "bearer", scope="credentials:write"
        )


@both_dialects
@pytest.mark.parametrize("announced", [TEXT, {}], ids=["text", "none"])
def test_413_before_415(
    service: Service, live: Pair, announced: dict[str, str], dialect: Dialect
) -> None:
    headers = {**announced, **present(live, dialect)}
    PAYLOAD_TOO_LARGE.check(
        service.request("POST", "/v1/api_keys", headers, body=TOO_LARGE), dialect
    )
    PAYLOAD_TOO_LARGE.check(
        service.request("POST", "/credentials", announced, body=TOO_LARGE), "pair"
    )


@both_dialects
def test_415_before_400_for_the_body(service: Service, live: Pair, dialect: Dialect) -> None:
    headers = {**TEXT, **present(live, dialect)}
    for body in (b"{", b"", b'{"name":1}'):
        UNSUPPORTED_MEDIA_TYPE.check(
            service.request("POST", "/v1/api_keys", headers, body=body), dialect
        )
        UNSUPPORTED_MEDIA_TYPE.check(
            service.request("POST", "/credentials", TEXT, body=body), "pair"
        )


def test_400_for_the_body_before_403_and_409_for_the_pair(service: Service, live: Pair) -> None:
    for pair in (live, forged(live), derived(service)):
        INVALID_FIELD.check(register(service, pair, extra=1), "pair")
        INVALID_FIELD.check(register(service, pair, name=""), "pair")
        cut = encode(vars(pair))[:-1]
        INVALID_REQUEST.check(service.request("POST", "/credentials", JSON, body=cut), "pair")


def test_403_for_the_pair_before_409(service: Service, live: Pair) -> None:
    NOT_DERIVED.check(register(service, forged(live)), "pair")
    DUPLICATE.check(register(service, live), "pair")


@both_dialects
def test_400_for_the_fields_before_403_for_what_they_ask(
    service: Service, reader: Pair, dialect: Dialect
) -> None:
    """Invalid fields are reported before values that the caller may not use."""
    writer = service.issue(scopes=["credentials:write"])
    asked = {"name": "x", "scopes": ["*"], "mode": "test", "expires_at": "2001-01-01T00:00:00Z"}
    answer = service.request("POST", "/v1/api_keys", present(writer, dialect), json_body=asked)
    INVALID_FIELD.check(answer, dialect, bearer=dialect == "bearer")


@both_dialects
def test_404_for_the_object_comes_last(service: Service, live: Pair, dialect: Dialect) -> None:
    path = f"/v1/api_keys/{new_api_key('live')}"
    # These routes read no body, so no body is invalid.
    for method in ("GET", "DELETE"):
        answer = service.request(method, path, {**TEXT, **present(live, dialect)}, body=b"{")
        CREDENTIAL_NOT_FOUND.check(answer, dialect)


def test_404_for_the_other_mode_before_403_and_409(service: Service, live: Pair) -> None:
    """A key of the other mode is always treated as unknown."""
    issuer = service.issue(scopes=["credentials:write"])
    own, other = service.issue(), service.issue("test")
    assert (
        service.request("POST", f"/v1/api_keys/{other.api_key}/rotate", other.bearer).status == 201
    )
    more = {"scopes": ["*"]}
    for api_key, row in ((own.api_key, INSUFFICIENT_SCOPE), (other.api_key, CREDENTIAL_NOT_FOUND)):
        path = f"/v1/api_keys/{api_key}"
        changed = service.request("PATCH", path, issuer.bearer, json_body=more)
        assert (changed.status, changed.code) == (row.status, row.code("bearer"))
        rotated = service.request("POST", f"{path}/rotate", issuer.bearer)
        assert (rotated.status, rotated.code) == (row.status, row.code("bearer"))
    rotated = service.request("POST", f"/v1/api_keys/{other.api_key}/rotate", live.bearer)
    assert rotated.status == CREDENTIAL_NOT_FOUND.status
