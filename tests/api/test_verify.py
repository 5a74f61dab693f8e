"""POST /v1/verify: what another service learns of a credential that it received."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api.accounts import change_account, key_for, manager, new_account
from tests.support.api.contract import (
    INSUFFICIENT_SCOPE,
    INVALID_FIELD,
    MAX_BODY,
    TOO_MANY_FAILURES,
    derived,
    forged,
    revoke,
)
from tests.support.service import Answer, Pair, Service

LARGEST_BATCH = 128 << 10


@pytest.fixture(scope="module")
def boss(service: Service) -> Pair:
    return manager(service)


@pytest.fixture(scope="module")
def verifier(service: Service) -> Pair:
    """A key of the instance account."""
    return service.create_key("live", "--scope", "verify:write")


@pytest.fixture(scope="module")
def account(service: Service, boss: Pair) -> Any:
    return new_account(
        service, boss, name="shop", external_id="shop-verify", metadata={"plan": "gold"}
    )


@pytest.fixture(scope="module")
def key(service: Service, boss: Pair, account: Any) -> Pair:
    return key_for(service, boss, account["id"], scopes=["orders:write:eu-*", "orders:read"])


def ask(service: Service, by: Pair, asked: Pair | str, **more: object) -> Answer:
    secret = asked if isinstance(asked, str) else asked.api_secret
    body = {"api_secret": secret, **more}
    return service.request("POST", "/v1/verify", by.bearer, json_body=body)


def code(answer: Answer) -> str:
    """The code of a check that could be made."""
    assert answer.status == 200, answer
    assert answer.json["valid"] == (answer.json["code"] == "VALID")
    return str(answer.json["code"])


def test_a_valid_key(service: Service, verifier: Pair, key: Pair, account: Any) -> None:
    answer = ask(service, verifier, key)
    assert answer.status == 200
    assert answer.json == {
        "valid": True,
        "code": "VALID",
        "principal": {
            "api_key": key.api_key,
            "account": account["id"],
            "external_id": "shop-verify",
            "mode": "live",
            "name": "a key",
            "scopes": ["orders:read", "orders:write:eu-*"],
            "metadata": {"plan": "gold"},
            "expires_at": None,
        },
        "limits": [],
    }
    assert answer.headers["cache-control"] == "no-store"
    assert ask(service, verifier, key, api_key=key.api_key).json == answer.json
    plain = service.issue("live", name="plain", expires_at="2999-01-01T00:00:00Z")
    told = ask(service, verifier, plain).json["principal"]
    assert (told["external_id"], told["metadata"]) == (None, None)
    assert told["expires_at"] == "2999-01-01T00:00:00.000Z"


def test_only_the_operator_gives_the_right_to_verify(service: Service, key: Pair) -> None:
    full = service.issue("live", scopes=["*"])
    INSUFFICIENT_SCOPE.check(ask(service, full, key), "bearer", bearer=True, scope="verify:write")
    reader = service.create_key("live", "--scope", "verify:read")
    INSUFFICIENT_SCOPE.check(ask(service, reader, key), "bearer", bearer=True, scope="verify:write")
    granted = service.request(
        "POST",
        "/v1/api_keys",
        service.create_key("live", "--scope", "*", "--scope", "verify:write").bearer,
        json_body={"name": "x", "scopes": ["verify:write"]},
    )
    assert granted.status == 403


def test_invalid_credentials_tell_nothing(service: Service, verifier: Pair, key: Pair) -> None:
    other = service.issue("live")
    refused = {
        "unregistered": ask(service, verifier, derived(service)),
        "forged, of a known key": ask(service, verifier, forged(key)),
        "forged, of an unknown key": ask(service, verifier, forged(derived(service))),
        "malformed": ask(service, verifier, "sk_live_x"),
        "not ASCII": ask(service, verifier, "sk_live_\u00e9"),
        "foreign": ask(service, verifier, "token"),
        "of another key": ask(service, verifier, key, api_key=other.api_key),
        "with a malformed key": ask(service, verifier, key, api_key="ak_live_x"),
        "an imported token with a key": ask(service, verifier, "token", api_key=key.api_key),
    }
    for what, answer in refused.items():
        assert answer.status == 200, what
        assert answer.json == {
            "valid": False,
            "code": "INVALID_API_KEY",
            "message": "Invalid API key provided",
        }, what


def test_refusals_of_a_right_secret(
    service: Service, verifier: Pair, boss: Pair, account: Any
) -> None:
    def made(**terms: object) -> Pair:
        return key_for(service, boss, account["id"], **terms)

    revoked, disabled = made(), made(enabled=False)
    assert code(ask(service, verifier, revoked)) == "VALID"
    revoke(service, boss, revoked.api_key)
    early = made(not_before="2999-01-01T00:00:00Z")
    for asked, expected in (
        (revoked, "KEY_REVOKED"),
        (disabled, "KEY_DISABLED"),
        (early, "KEY_NOT_YET_VALID"),
    ):
        answer = ask(service, verifier, asked)
        assert code(answer) == expected
        assert set(answer.json) == {"valid", "code", "message", "api_key", "account"}
        assert answer.json["api_key"] == asked.api_key
        assert answer.json["account"] == account["id"]
    closed = new_account(service, boss, name="closed")
    of_closed = key_for(service, boss, closed["id"])
    assert code(ask(service, verifier, of_closed)) == "VALID"
    change_account(service, boss, closed["id"], status="disabled")
    assert code(ask(service, verifier, of_closed)) == "KEY_DISABLED"
    change_account(service, boss, closed["id"], status="active")
    assert code(ask(service, verifier, of_closed)) == "VALID"


def test_scopes(service: Service, verifier: Pair, key: Pair) -> None:
    for needed, expected in (
        ({"scopes": ["orders:read"]}, "VALID"),
        ({"scopes": ["orders:write:eu-1", "orders:read"]}, "VALID"),
        ({"scopes": ["orders:write"]}, "INSUFFICIENT_SCOPE"),
        ({"scopes": ["orders:read", "invoices:read"]}, "INSUFFICIENT_SCOPE"),
        ({"scope_any": ["orders:read", "invoices:read"]}, "VALID"),
        ({"scope_any": ["invoices:read", "invoices:write"]}, "INSUFFICIENT_SCOPE"),
        ({"scopes": ["orders:read"], "scope_any": ["invoices:read"]}, "INSUFFICIENT_SCOPE"),
    ):
        answer = ask(service, verifier, key, **needed)
        assert code(answer) == expected, needed
        if expected != "VALID":
            assert answer.json["api_key"] == key.api_key
            assert "principal" not in answer.json


def test_conditions_need_their_fields(
    service: Service, verifier: Pair, boss: Pair, account: Any
) -> None:
    near = key_for(service, boss, account["id"], networks=["192.0.2.0/24", "2001:db8::/32"])
    for given, expected in (
        ({}, "ADDRESS_NOT_ALLOWED"),
        ({"address": None}, "ADDRESS_NOT_ALLOWED"),
        ({"address": "192.0.2.7"}, "VALID"),
        ({"address": "192.0.2.7:4711"}, "VALID"),
        ({"address": "2001:db8::1"}, "VALID"),
        ({"address": "198.51.100.1"}, "ADDRESS_NOT_ALLOWED"),
    ):
        assert code(ask(service, verifier, near, **given)) == expected, given
    limited = key_for(service, boss, account["id"], endpoints=["GET /orders/**", "POST /caf\u00e9"])
    for given, expected in (
        ({}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET"}, "ENDPOINT_NOT_ALLOWED"),
        ({"path": "/orders/1"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "/orders/1"}, "VALID"),
        ({"method": "HEAD", "path": "/orders"}, "VALID"),
        ({"method": "get", "path": "/orders"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET /orders/1", "path": "/admin"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "POST", "path": "/caf\u00e9"}, "VALID"),
        ({"method": "POST", "path": "/caf%C3%A9"}, "ENDPOINT_NOT_ALLOWED"),
        # Programs read these in different ways.
        ({"method": "GET", "path": "/orders/../admin"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "/orders/%2e%2e/admin"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "/orders//x"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "/orders/;x"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "/orders?x=1"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "/orders/\u0000"}, "ENDPOINT_NOT_ALLOWED"),
        ({"method": "GET", "path": "orders"}, "ENDPOINT_NOT_ALLOWED"),
    ):
        assert code(ask(service, verifier, limited, **given)) == expected, given


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"api_secret": None}, "api_secret"),
        ({"api_secret": ""}, "api_secret"),
        ({"api_secret": 1}, "api_secret"),
        ({"api_key": 1}, "api_key"),
        ({"scopes": []}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"scopes": ["orders"]}, "scopes"),
        ({"scope_any": ["*:write"]}, "scope_any"),
        ({"scopes": ["a:read"] * 65}, "scopes"),
        ({"address": "here"}, "address"),
        ({"cost": 0}, "cost"),
        ({"cost": 1_000_001}, "cost"),
        ({"cost": 1.0}, "cost"),
        ({"cost": True}, "cost"),
        ({"surprise": 1}, "surprise"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_invalid_fields(
    service: Service, verifier: Pair, key: Pair, more: dict[str, object], field: str
) -> None:
    body = {"api_secret": key.api_secret, **more}
    for path, given, place in (
        ("/v1/verify", body, field),
        ("/v1/verify/batch", {"items": [{"api_secret": "x"}, body]}, f"items.1.{field}"),
    ):
        answer = service.request("POST", path, verifier.bearer, json_body=given)
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        message = answer.json["error"]["message"]
        unknown = field in ("surprise", "secret")
        assert message.startswith(f"{place}: "), message
        assert not unknown or "allowed are api_secret, api_key" in message
        assert key.api_secret not in message


def test_uses_and_refusals_are_counted_once(
    service: Service, verifier: Pair, boss: Pair, account: Any
) -> None:
    key = key_for(service, boss, account["id"], scopes=["orders:read"], networks=["192.0.2.0/24"])
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        assert code(ask(service, verifier, key, address=address)) == "VALID"
    assert code(ask(service, verifier, key)) == "ADDRESS_NOT_ALLOWED"
    assert code(ask(service, verifier, forged(key))) == "INVALID_API_KEY"
    lacking = ask(service, verifier, key, address="192.0.2.1", scopes=["orders:write"])
    assert code(lacking) == "INSUFFICIENT_SCOPE"
    usage = service.usage(key)
    # As on a protected route: the scope is compared after the use was counted.
    assert usage["requests"] == 4
    assert usage["refusals"]["address"] == 1
    assert usage["refusals"]["scope"] == 1
    assert sum(usage["refusals"].values()) == 2


def test_the_walls_of_accounts_and_modes(service: Service, boss: Pair, account: Any) -> None:
    own = new_account(service, boss, name="own")
    customer = service.create_key("live", "--scope", "verify:write", "--account", own["id"])
    theirs = key_for(service, boss, own["id"])
    hidden = {
        "of another account": key_for(service, boss, account["id"]),
        "of the instance": service.issue("live"),
        "of the other mode": key_for(service, manager(service, "test"), own["id"]),
    }
    assert code(ask(service, customer, theirs)) == "VALID"
    unknown = ask(service, customer, derived(service))
    for what, asked in hidden.items():
        for more in ({}, {"scopes": ["invoices:read"]}):
            answer = ask(service, customer, asked, **more)
            assert answer.body == unknown.body, what
    revoked = key_for(service, boss, account["id"])
    revoke(service, boss, revoked.api_key)
    assert ask(service, customer, revoked).body == unknown.body
    # A key of the instance account reaches all accounts, in its own mode.
    everywhere = service.create_key("test", "--scope", "verify:write")
    assert code(ask(service, everywhere, hidden["of the other mode"])) == "VALID"
    assert ask(service, everywhere, theirs).body == unknown.body
    for asked in (hidden["of another account"], revoked):
        usage = service.usage(asked)
        assert usage["requests"] == 0
        assert sum(usage["refusals"].values()) == 0


def test_a_batch(service: Service, verifier: Pair, key: Pair, boss: Pair, account: Any) -> None:
    revoked = key_for(service, boss, account["id"])
    revoke(service, boss, revoked.api_key)
    asked: list[dict[str, Any]] = [
        {"api_secret": key.api_secret, "scopes": ["orders:read"]},
        {"api_secret": forged(key).api_secret},
        {"api_secret": revoked.api_secret},
        {"api_secret": key.api_secret, "scopes": ["invoices:read"]},
        {"api_secret": key.api_secret, "api_key": key.api_key},
    ]
    before = service.usage(key)["requests"]
    answer = batch(service, verifier, asked)
    assert answer.status == 200
    results = answer.json["results"]
    assert [one["code"] for one in results] == [
        *("VALID", "INVALID_API_KEY", "KEY_REVOKED", "INSUFFICIENT_SCOPE", "VALID"),
    ]
    for one, result in zip(asked, results, strict=True):
        body = dict(one)
        secret = str(body.pop("api_secret"))
        assert ask(service, verifier, secret, **body).json == result
    assert service.usage(key)["requests"] == before + 6


def batch(service: Service, by: Pair, items: list[dict[str, Any]]) -> Answer:
    return service.request("POST", "/v1/verify/batch", by.bearer, json_body={"items": items})


def test_the_limits_of_a_batch(service: Service, verifier: Pair) -> None:
    item = {"api_secret": "x"}
    assert len(batch(service, verifier, [item] * 100).json["results"]) == 100
    for items in ([], [item] * 101):
        INVALID_FIELD.check(batch(service, verifier, items), "bearer", bearer=True)
    path = "/v1/verify/batch"
    json_header = {**verifier.bearer, "Content-Type": "application/json"}
    whole = b'{"items": [{"api_secret": "x"}]}'.ljust(LARGEST_BATCH)
    assert service.request("POST", path, json_header, body=whole).status == 200
    answer = service.request("POST", path, json_header, body=whole + b" ")
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert "128 KiB" in answer.json["error"]["message"]
    answer = service.request("POST", "/v1/verify", json_header, body=b" " * (MAX_BODY + 1))
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert "16 KiB" in answer.json["error"]["message"]


def test_invalid_results_are_throttled_by_the_calling_key(closed: Service) -> None:
    """Three failures a day, on a service where all requests come from one address."""
    first, second = (closed.create_key("live", "--scope", "verify:write") for _ in range(2))
    key = closed.issue("live")
    revoked = closed.issue("live")
    revoke(closed, closed.issue("live"), revoked.api_key)
    for _ in range(5):
        assert code(ask(closed, first, revoked)) == "KEY_REVOKED"
    for _ in range(3):
        assert code(ask(closed, first, forged(key))) == "INVALID_API_KEY"
    limited = ask(closed, first, forged(key))
    TOO_MANY_FAILURES.check(limited, "bearer")
    assert "this key" in limited.json["error"]["message"]
    assert int(limited.headers["retry-after"]) > 0
    results = batch(closed, first, [{"api_secret": "x"}, {"api_secret": key.api_secret}]).json[
        "results"
    ]
    assert [one["code"] for one in results] == ["TOO_MANY_FAILURES", "VALID"]
    # Neither the key nor another caller is affected.
    assert code(ask(closed, first, key)) == "VALID"
    assert code(ask(closed, second, forged(key))) == "INVALID_API_KEY"
    assert closed.get("/v1/account", key.bearer).status == 200


def test_a_revocation_is_effective_at_the_next_check(
    service: Service, verifier: Pair, boss: Pair, account: Any
) -> None:
    for _ in range(5):
        key = key_for(service, boss, account["id"])
        for _ in range(4):
            assert code(ask(service, verifier, key)) == "VALID"
        revoke(service, boss, key.api_key)
        for _ in range(4):
            assert code(ask(service, verifier, key)) == "KEY_REVOKED"


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, LATCHKEY_WORKERS="1") as running:
        yield running


def test_a_database_failure_is_no_refusal(broken: Service) -> None:
    verifier = broken.create_key("live", "--scope", "verify:write")
    cached, uncached = broken.issue("live"), broken.issue("live")
    assert code(ask(broken, verifier, cached)) == "VALID"
    shutil.move(broken.database, broken.database.with_name("away"))
    answer = ask(broken, verifier, uncached)
    assert (answer.status, answer.code) == (500, "internal_error")
    items = [{"api_secret": one.api_secret} for one in (uncached, cached, forged(cached))]
    answer = batch(broken, verifier, items)
    assert answer.status == 200
    failed, *others = answer.json["results"]
    assert failed["code"] == "INTERNAL_ERROR"
    assert set(failed) == {"valid", "code", "message"}
    assert [one["code"] for one in others] == ["VALID", "INVALID_API_KEY"]
    shutil.move(broken.database.with_name("away"), broken.database)
    assert code(ask(broken, verifier, uncached)) == "VALID"
    assert not any(pair.api_secret in broken.log for pair in (cached, uncached))
