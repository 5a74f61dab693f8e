"""Accounts over HTTP: created, listed, changed, disabled, and their keys."""

from __future__ import annotations

from itertools import chain
from typing import Any
from uuid import uuid4

import pytest

from latchkey.credentials.tokens import new_id
from tests.support.api.accounts import change_account, key_for, manager, new_account
from tests.support.api.contract import (
    INSUFFICIENT_SCOPE,
    INVALID_FIELD,
    JSON_HEADER,
    Row,
    create,
)
from tests.support.api.shapes import TIME
from tests.support.service import Answer, Pair, Service

ACCOUNT_NOT_FOUND = Row(404, "not_found_error", "ACCOUNT_NOT_FOUND", message="No such account")
DUPLICATE = Row(409, "conflict_error", "DUPLICATE_EXTERNAL_ID")
DISABLED = Row(401, "authentication_error", "UNAUTHORIZED", "key_disabled", "API key is disabled")


@pytest.fixture(scope="module")
def writer(service: Service) -> Pair:
    return manager(service)


@pytest.fixture(scope="module")
def test_writer(service: Service) -> Pair:
    return manager(service, "test")


@pytest.fixture(scope="module")
def reader(service: Service) -> Pair:
    return manager(service, scope="accounts:read")


def unique(name: str = "customer") -> str:
    return f"{name}-{uuid4().hex}"


def patch(service: Service, by: Pair, account: str, **terms: object) -> Answer:
    return service.request("PATCH", f"/v1/accounts/{account}", by.bearer, json_body=terms)


def post(service: Service, by: Pair, **terms: object) -> Answer:
    return service.request("POST", "/v1/accounts", by.bearer, json_body=terms)


def test_an_account_is_created_and_shown(service: Service, writer: Pair, reader: Pair) -> None:
    external_id, metadata = unique(), {"plan": "gold", "seats": [1, None, "ü"]}
    made = post(service, writer, name="Acme", external_id=external_id, metadata=metadata)
    assert made.status == 201
    account = made.json
    assert list(account) == [
        *("object", "id", "name", "external_id", "metadata", "limits", "status", "created_at"),
    ]
    assert TIME.fullmatch(account.pop("created_at"))
    assert account == {
        "object": "account",
        "id": account["id"],
        "name": "Acme",
        "external_id": external_id,
        "metadata": metadata,
        "limits": None,
        "status": "active",
    }
    shown = service.get(f"/v1/accounts/{account['id']}", reader.bearer)
    assert (shown.status, shown.json) == (200, made.json)
    assert shown.headers["cache-control"] == "no-store"
    found = service.get(f"/v1/accounts?external_id={external_id}", reader.bearer).json
    assert found == {"accounts": [made.json], "next_cursor": None}
    DUPLICATE.check(post(service, writer, name="x", external_id=external_id), "bearer", bearer=True)


def test_omitted_and_null_terms_of_a_new_account(service: Service, writer: Pair) -> None:
    for terms in ({}, {"external_id": None, "metadata": None}):
        made = new_account(service, writer, **terms)
        assert (made["external_id"], made["metadata"]) == (None, None)
    assert new_account(service, writer, metadata={})["metadata"] == {}


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x", "external_id": ""}, "external_id"),
        ({"name": "x", "external_id": "a b"}, "external_id"),
        ({"name": "x", "external_id": "a\n"}, "external_id"),
        ({"name": "x", "external_id": "é"}, "external_id"),
        ({"name": "x", "external_id": "a" * 256}, "external_id"),
        ({"name": "x", "external_id": 7}, "external_id"),
        ({"name": "x", "metadata": []}, "metadata"),
        ({"name": "x", "metadata": {"a": "b" * 761}}, "metadata"),
        ({"name": "x", "metadata": {"a": "é" * 381}}, "metadata"),
        ({"name": "x", "limits": []}, "limits"),
        ({"name": "x", "status": "disabled"}, "status"),
    ],
)
def test_invalid_terms(service: Service, writer: Pair, terms: dict[str, Any], field: str) -> None:
    answer = post(service, writer, **terms)
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert answer.json["error"]["message"].startswith(f"{field}: ")


def test_the_largest_terms(service: Service, writer: Pair) -> None:
    terms = {"external_id": "~" * 223 + uuid4().hex, "metadata": {"a": "b" * 760}}
    made = new_account(service, writer, **terms)
    assert {name: made[name] for name in terms} == terms


def test_no_term_of_an_account_holds_a_secret(service: Service, writer: Pair) -> None:
    for terms in (
        {"name": writer.api_secret},
        {"external_id": writer.api_secret},
        {"metadata": {"a": writer.api_secret}},
    ):
        answer = post(service, writer, **{"name": "x", **terms})
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert writer.api_secret.encode() not in answer.body


def test_null_removes_a_term_and_absence_keeps_it(service: Service, writer: Pair) -> None:
    external_id = unique()
    made = new_account(service, writer, external_id=external_id, metadata={"a": 1})
    account = made["id"]
    assert change_account(service, writer, account) == made
    assert change_account(service, writer, account, name="new") == {**made, "name": "new"}
    without = change_account(service, writer, account, external_id=None)
    assert without == {**made, "name": "new", "external_id": None}
    assert change_account(service, writer, account, metadata=None) == {**without, "metadata": None}
    # The id is free again.
    other = new_account(service, writer, external_id=external_id)
    DUPLICATE.check(patch(service, writer, account, external_id=external_id), "bearer", bearer=True)
    assert change_account(service, writer, other["id"], external_id=external_id) == other


def test_pages_of_accounts(service: Service, writer: Pair, reader: Pair) -> None:
    made = [new_account(service, writer)["id"] for _ in range(5)]

    def pages(limit: int) -> list[list[str]]:
        found, query = [], f"?limit={limit}"
        while True:
            page = service.get(f"/v1/accounts{query}", reader.bearer).json
            found.append([one["id"] for one in page["accounts"]])
            if page["next_cursor"] is None:
                return found
            query = f"?limit={limit}&cursor={page['next_cursor']}"

    everything = list(chain(*pages(100)))
    assert everything[:5] == made[::-1]
    assert len(set(everything)) == len(everything)
    assert everything[-1] == instance_of(service, reader)
    assert list(chain(*pages(2))) == everything


def instance_of(service: Service, key: Pair) -> str:
    return str(service.get("/v1/account", key.bearer).json["id"])


@pytest.mark.parametrize("account", ["acct_" + "0" * 22, "x", "acct_%00", "%F0%9F%94%91"])
def test_unknown_accounts(service: Service, writer: Pair, account: str) -> None:
    for answer in (
        service.get(f"/v1/accounts/{account}", writer.bearer),
        service.get(f"/v1/accounts/{account}/usage", writer.bearer),
        service.get(f"/v1/api_keys?account={account}", writer.bearer),
        patch(service, writer, account, name="x"),
        patch(service, writer, account),
        service.request("POST", f"/v1/accounts/{account}/revoke_keys", writer.bearer),
        create(service, writer, account=account, scopes=["account:read"]),
    ):
        ACCOUNT_NOT_FOUND.check(answer, "bearer", bearer=True)


def test_the_keys_of_an_account(service: Service, writer: Pair, reader: Pair) -> None:
    account = new_account(service, writer, external_id=unique(), metadata={"a": [1]})
    own, other = (key_for(service, writer, account["id"]) for _ in range(2))
    presented = service.get("/v1/account", own.bearer).json
    assert (presented["id"], presented["name"]) == (account["id"], "a key")
    assert presented["external_id"] == account["external_id"]
    assert presented["metadata"] == {"a": [1]}
    of_account = f"?account={account['id']}"
    for caller, query in ((own, ""), (own, of_account), (reader, of_account)):
        for path in ("/v1/api_keys", "/credentials"):
            found = service.get(path + query, caller.bearer).json
            keys = [one["api_key"] for one in found["credentials"]]
            assert (keys, found["next_cursor"]) == ([other.api_key, own.api_key], None)
            assert {one["account"] for one in found["credentials"]} == {account["id"]}
    # A key makes further keys of its account, and rotates them.
    child = create(service, own)
    assert (child.status, child.json["account"]) == (201, account["id"])
    named = create(service, own, account=account["id"], scopes=["account:read"])
    assert (named.status, named.json["account"]) == (201, account["id"])
    successor = service.request("POST", f"/v1/api_keys/{other.api_key}/rotate", own.bearer)
    assert (successor.status, successor.json["account"]) == (201, account["id"])


def test_a_key_for_a_named_account_needs_scopes(service: Service, writer: Pair) -> None:
    account = new_account(service, writer)["id"]
    for named in (account, instance_of(service, writer), "acct_" + new_id()):
        answer = create(service, writer, account=named)
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert (
            answer.json["error"]["message"]
            == "scopes: name the scopes of a key whose account you name"
        )
    answer = create(service, writer, account=account, scopes=["accounts:read"])
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert "instance account" in answer.json["error"]["message"]


def test_scopes_on_the_routes_of_accounts(service: Service, writer: Pair, reader: Pair) -> None:
    account = new_account(service, writer)["id"]
    plain = service.issue()
    of_account = key_for(service, writer, account)
    reads = [("GET", "/v1/accounts"), ("GET", f"/v1/accounts/{account}")]
    reads += [("GET", f"/v1/accounts/{account}/usage")]
    writes = [("POST", "/v1/accounts"), ("PATCH", f"/v1/accounts/{account}")]
    writes += [("POST", f"/v1/accounts/{account}/revoke_keys")]
    for caller in (plain, of_account, reader):
        for method, path in [*reads, *writes]:
            needed = "accounts:read" if (method, path) in reads else "accounts:write"
            body = {"name": "x"} if path == "/v1/accounts" and method == "POST" else {}
            answer = service.request(
                method, path, caller.bearer, json_body=None if method == "GET" else body
            )
            if caller is reader and (method, path) in reads:
                assert answer.status == 200
            else:
                INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope=needed)


def test_accounts_are_changed_with_live_keys_only(
    service: Service, writer: Pair, test_writer: Pair
) -> None:
    made = new_account(service, writer)
    for answer in (
        post(service, test_writer, name="x"),
        patch(service, test_writer, made["id"], status="disabled"),
        patch(service, test_writer, made["id"]),
        # Before the body is read.
        patch(service, test_writer, made["id"], unknown=1),
        post(service, test_writer),
    ):
        assert (answer.status, answer.code) == (403, "insufficient_scope")
        assert "live" in answer.json["error"]["message"]
    assert service.get(f"/v1/accounts/{made['id']}", test_writer.bearer).json == made


def test_disabling_and_enabling_an_account(
    service: Service, writer: Pair, test_writer: Pair
) -> None:
    account = new_account(service, writer)["id"]
    keys = [key_for(service, writer, account), key_for(service, test_writer, account)]
    kept = key_for(service, writer, new_account(service, writer)["id"])
    for status, others in (("disabled", 401), ("active", 200)) * 2:
        changed = change_account(service, writer, account, status=status)
        assert changed["status"] == status
        for key in keys:
            answer = service.get("/v1/api_keys/self", key.bearer)
            assert answer.status == others
            if others == 401:
                DISABLED.check(answer, "bearer", bearer=True)
        assert service.get("/v1/account", kept.bearer).status == 200
    # The key itself was not changed.
    assert service.get("/v1/api_keys/self", keys[0].bearer).json["enabled"] is True


def test_the_instance_account_cannot_be_disabled(service: Service, writer: Pair) -> None:
    answer = patch(service, writer, instance_of(service, writer), status="disabled")
    INVALID_FIELD.check(answer, "bearer", bearer=True)


def test_changed_terms_travel_with_the_next_request(service: Service, writer: Pair) -> None:
    account = new_account(service, writer)["id"]
    key = key_for(service, writer, account)
    changes: list[dict[str, Any]] = [
        {"external_id": unique(), "metadata": {"n": 1}},
        {"external_id": None, "metadata": {}},
        {"external_id": unique(), "metadata": None},
    ]
    for terms in changes:
        for _ in range(3):
            service.get("/v1/account", key.bearer)
        change_account(service, writer, account, **terms)
        for _ in range(3):
            shown = service.get("/v1/account", key.bearer).json
            assert {name: shown[name] for name in terms} == terms


def test_revoking_the_keys_of_an_account(service: Service, writer: Pair, test_writer: Pair) -> None:
    account = new_account(service, writer)["id"]
    live = [key_for(service, writer, account) for _ in range(3)]
    test = key_for(service, test_writer, account)
    path = f"/v1/accounts/{account}/revoke_keys"
    keys = [one.api_key for one in live[::-1]]
    dry = service.request("POST", path, writer.bearer, json_body={"dry_run": True})
    assert (dry.status, dry.json) == (200, {"matched": 3, "revoked": 0, "api_keys": keys})
    assert service.get("/v1/account", live[0].bearer).status == 200
    done = service.request("POST", path, writer.bearer)
    assert (done.status, done.json) == (200, {"matched": 3, "revoked": 3, "api_keys": keys})
    for key in live:
        assert service.get("/v1/account", key.bearer).code == "key_revoked"
    assert service.get("/v1/account", test.bearer).status == 200
    again = service.request("POST", path, writer.bearer, json_body={})
    assert again.json == {"matched": 0, "revoked": 0, "api_keys": []}
    done = service.request("POST", path, test_writer.bearer, json_body={"dry_run": False})
    assert done.json == {"matched": 1, "revoked": 1, "api_keys": [test.api_key]}
    assert service.get("/v1/account", test.bearer).code == "key_revoked"


def test_any_key_shows_itself(service: Service, writer: Pair) -> None:
    key = service.issue(scopes=["orders:read"], endpoints=["GET /v1/**"])
    own = service.get("/v1/api_keys/self", key.bearer)
    assert own.status == 200
    shown = service.get(f"/v1/api_keys/{key.api_key}", writer.bearer).json
    # Its limits are shown with what remains: see test_limits.py.
    assert {**own.json, "last_used_at": None, "limits": None} == {**shown, "last_used_at": None}
    assert service.get("/v1/api_keys/self").code == "missing_api_key"
    for method in ("PATCH", "DELETE"):
        answer = service.send_raw(
            f"{method} /v1/api_keys/self HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {writer.api_secret}\r\n{JSON_HEADER[0]}: {JSON_HEADER[1]}\r\n"
            "Content-Length: 2\r\n\r\n{}".encode()
        )
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"


def test_the_usage_of_an_account(service: Service, writer: Pair, test_writer: Pair) -> None:
    """The sum over its keys of the caller's mode, with the last request and revoked keys."""
    account = new_account(service, writer)["id"]
    path = f"/v1/accounts/{account}/usage"
    unused = service.get(path, writer.bearer).json
    assert list(unused) == [
        *("account", "mode", "requests", "last_used_at", "hours", "days", "refusals"),
        "limits",
    ]
    assert (unused["account"], unused["mode"]) == (account, "live")
    assert (unused["requests"], unused["last_used_at"], unused["hours"]) == (0, None, [])
    live = [key_for(service, writer, account, scopes=["account:read"]) for _ in range(3)]
    test = key_for(service, test_writer, account)
    for requests, key in enumerate([*live, test], 1):
        for _ in range(requests):
            assert service.get("/v1/account", key.bearer).status == 200
    assert service.get("/v1/api_keys", live[0].bearer).status == 403
    service.request("DELETE", f"/v1/api_keys/{live[2].api_key}", writer.bearer)
    assert service.get("/v1/account", live[2].bearer).status == 401
    used = service.get(path, writer.bearer).json
    assert used["requests"] == 1 + 2 + 3 + 1
    assert sum(hour["requests"] for hour in used["hours"]) == 7
    assert sum(day["requests"] for day in used["days"]) == 7
    assert (used["refusals"]["scope"], used["refusals"]["revoked"]) == (1, 1)
    keys = [service.usage(key) for key in live]
    assert used["last_used_at"] == max(key["last_used_at"] for key in keys)
    of_test = service.get(path, test_writer.bearer).json
    assert (of_test["mode"], of_test["requests"]) == ("test", 4)
