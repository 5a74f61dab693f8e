"""The form of responses: the dialect, no body after HEAD, and no caching."""

from __future__ import annotations

import pytest

from tests.support.api.contract import (
    DIALECTS,
    INVALID,
    INVALID_FIELD,
    MISSING,
    MISSING_BY_FORM,
    NOT_DERIVED,
    NOT_FOUND,
    REALM,
    Dialect,
    derived,
    forged,
    present,
    register,
    wire,
)
from tests.support.service import Pair, Service

both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


# The dialect.


def test_the_presented_scheme_determines_the_dialect(service: Service, live: Pair) -> None:
    wrong = forged(live)
    INVALID.check(service.get("/credentials", wrong.bearer), "bearer", bearer=True)
    INVALID.check(service.get("/v1/account", wrong.headers), "pair")


@pytest.mark.parametrize("name", ["X-Api-Key", "X-Api-Secret", "X-Api-Version"])
@pytest.mark.parametrize("value", ["", "x"])
def test_any_header_of_the_pair_scheme_selects_its_dialect(
    service: Service, name: str, value: str
) -> None:
    MISSING.check(service.get("/v1/account", {name: value}), "pair")


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "bearer   ", "Basic abc", "", "Token x"])
def test_without_a_credential_the_path_determines_the_dialect(service: Service, value: str) -> None:
    MISSING_BY_FORM.check(service.get("/v1/account", {"Authorization": value}), "bearer")
    MISSING_BY_FORM.check(service.get("/credentials", {"Authorization": value}), "pair")


def test_the_path_determines_the_dialect_of_an_open_route(service: Service, live: Pair) -> None:
    """Credentials on an open route are ignored."""
    for headers in (live.bearer, forged(live).bearer, live.headers, {"Authorization": "Bearer x"}):
        answer = service.request("POST", "/credentials", headers, json_body={"api_key": 1})
        INVALID_FIELD.check(answer, "pair")
        NOT_FOUND.check(service.get("/docs/nowhere", headers), "pair")
        NOT_DERIVED.check(
            service.request(
                "POST",
                "/credentials",
                headers,
                json_body=dict(
                    zip(("api_key", "api_secret"), vars(forged(live)).values(), strict=True)
                ),
            ),
            "pair",
        )


# HEAD counts as GET, and its answers have no body.


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/v1/account", 401), ("/docs/nowhere", 404), ("/openapi.json", 200)],
)
def test_head_is_answered_like_get_without_a_body(service: Service, path: str, status: int) -> None:
    got = service.get(path)
    for answer in (service.request("HEAD", path), service.send_raw(wire(f"HEAD {path}"))):
        assert (answer.status, answer.body) == (status, b"")
        assert answer.headers["content-length"] == got.headers["content-length"]
        assert answer.headers.get("www-authenticate") == (REALM if status == 401 else None)


@both_dialects
def test_head_with_a_credential(service: Service, live: Pair, dialect: Dialect) -> None:
    for path, status in (("/v1/account", 200), ("/v1/nowhere", 404), ("/credentials?limit=x", 400)):
        answer = service.request("HEAD", path, present(live, dialect))
        assert (answer.status, answer.body) == (status, b"")
        assert answer.headers["cache-control"] == "no-store"


def test_head_that_the_parser_refuses_has_no_body(service: Service) -> None:
    answer = service.send_raw(wire("HEAD /health", "X: " + "x" * 65_536))
    assert (answer.status, answer.body) == (431, b"")


@both_dialects
def test_successful_responses_are_not_cached(
    service: Service, live: Pair, dialect: Dialect
) -> None:
    made = service.request(
        "POST", "/v1/api_keys", present(live, dialect), json_body={"name": "kept by nobody"}
    )
    path = f"/v1/api_keys/{made.json['api_key']}"
    for answer in (
        made,
        service.get("/v1/account", present(live, dialect)),
        service.get("/credentials", present(live, dialect)),
        service.get("/v1/api_keys", present(live, dialect)),
        service.get(path, present(live, dialect)),
        service.request("DELETE", path, present(live, dialect)),
        register(service, derived(service)),
    ):
        assert answer.status in (200, 201)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"
        assert "www-authenticate" not in answer.headers
