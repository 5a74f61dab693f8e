"""Each scope on each route, and scopes within those of the caller."""

from __future__ import annotations

import pytest

from latchkey.credentials.tokens import new_api_key
from tests.support.api.contract import (
    INSUFFICIENT_SCOPE,
    INVALID_FIELD,
    create,
    show,
)
from tests.support.service import Pair, Service

ALLOWED = {
    "*": {"account", "list", "show", "create", "delete"},
    "*:read": {"account", "list", "show"},
    "account:read": {"account"},
    "account:write": {"account"},
    "credentials:read": {"list", "show"},
    "credentials:write": {"list", "show", "create", "delete"},
}


@pytest.mark.parametrize("scope", ALLOWED)
def test_each_scope_on_each_route(service: Service, scope: str) -> None:
    """Sufficient scopes reach the route; otherwise, the response names the needed scope."""
    caller = service.issue(scopes=[scope])
    unknown = new_api_key("live")
    for what, method, path, needed in (
        ("account", "GET", "/v1/account", "account:read"),
        ("list", "GET", "/credentials", "credentials:read"),
        ("list", "GET", "/v1/api_keys", "credentials:read"),
        ("show", "GET", f"/v1/api_keys/{unknown}", "credentials:read"),
        ("create", "POST", "/v1/api_keys", "credentials:write"),
        ("delete", "DELETE", f"/credentials/{unknown}", "credentials:write"),
        ("delete", "DELETE", f"/v1/api_keys/{unknown}", "credentials:write"),
    ):
        body = {"name": "x"} if method == "POST" else None
        answer = service.request(method, path, caller.bearer, json_body=body)
        if what in ALLOWED[scope]:
            assert answer.status in (200, 201, 404), (method, path, answer)
            assert answer.status != 404 or answer.code == "credential_not_found"
        else:
            INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope=needed)
            assert needed in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("own", "asked", "lacking"),
    [
        (["credentials:write"], ["credentials:write"], None),
        (["credentials:write"], ["credentials:read"], None),
        (["credentials:write"], ["credentials:read", "credentials:write"], None),
        (["credentials:write"], ["account:read"], "account:read"),
        (["credentials:write"], ["credentials:read", "account:write"], "account:write"),
        (["credentials:write"], ["*:read"], "*:read"),
        (["credentials:write"], ["*"], "*"),
        (["credentials:write", "*:read"], ["*:read"], None),
        (["credentials:write", "*:read"], ["account:read"], None),
        (["credentials:write", "*:read"], ["account:write"], "account:write"),
        (["credentials:write", "*:read"], ["*"], "*"),
        (["credentials:write", "account:write"], ["account:read"], None),
        # Everything there is today is not everything.
        (["credentials:write", "account:write"], ["*"], "*"),
        (["credentials:write", "account:write"], ["*:read"], "*:read"),
        (["*"], ["*"], None),
        (["*"], ["*:read", "account:write"], None),
    ],
)
def test_creating_within_the_callers_own_scopes(
    service: Service, own: list[str], asked: list[str], lacking: str | None
) -> None:
    caller = service.issue(scopes=own)
    answer = create(service, caller, scopes=asked)
    if lacking is None:
        assert answer.status == 201
        assert answer.json["scopes"] == sorted(asked)
        made = Pair(answer.json["api_key"], answer.json["api_secret"])
        assert show(service, caller, made.api_key)["scopes"] == sorted(asked)
    else:
        INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope=lacking)
        assert lacking in answer.json["error"]["message"]


def test_omitted_terms_are_copied_from_the_caller(service: Service) -> None:
    end = "2035-06-01T00:00:00.000Z"
    scopes = ["account:read", "credentials:write"]
    caller = service.issue("test", scopes=scopes, expires_at=end)
    made = create(service, caller).json
    assert (made["mode"], made["scopes"], made["expires_at"]) == ("test", scopes, end)


@pytest.mark.parametrize(
    "scopes",
    [[], None, ["nothing"], ["*", "account:*"], ["account:read:x"], [""], ["ACCOUNT:READ"]],
)
def test_malformed_empty_and_null_scopes(service: Service, live: Pair, scopes: object) -> None:
    """Also for a caller that could not grant them."""
    writer = service.issue(scopes=["credentials:write"])
    for caller in (live, writer):
        answer = create(service, caller, scopes=scopes)
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert "scopes" in answer.json["error"]["message"]


def test_repeated_scopes_are_one(service: Service, live: Pair) -> None:
    assert create(service, live, scopes=["*", "*"]).json["scopes"] == ["*"]
