"""Changing, rotating and usage of credentials over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.models import REFUSAL_REASONS
from latchkey.credentials.tokens import new_api_key
from tests.support.api.contract import (
    CREDENTIAL_NOT_FOUND,
    EXPIRED,
    INSUFFICIENT_SCOPE,
    INVALID_FIELD,
    PAYLOAD_TOO_LARGE,
    REVOKED,
    UNSUPPORTED_MEDIA_TYPE,
    Row,
    show,
)
from tests.support.api.shapes import FIELDS, later, when
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, Pair, Service
from tests.support.times import await_end, in_time

ALREADY_ROTATED = Row(409, "conflict_error", "ALREADY_ROTATED")
KEY_EXPIRED = Row(409, "conflict_error", "KEY_EXPIRED")


def change(service: Service, by: Pair, api_key: str, **terms: object) -> Answer:
    return service.request("PATCH", f"/v1/api_keys/{api_key}", by.bearer, json_body=terms)


def rotate(service: Service, by: Pair, api_key: str, **terms: object) -> Answer:
    path = f"/v1/api_keys/{api_key}/rotate"
    return service.request("POST", path, by.bearer, json_body=terms)


def usage(service: Service, by: Pair, api_key: str) -> Answer:
    return service.get(f"/v1/api_keys/{api_key}/usage", by.bearer)


def revoke(service: Service, by: Pair, api_key: str) -> None:
    assert service.request("DELETE", f"/v1/api_keys/{api_key}", by.bearer).status == 200


# ---- PATCH


def test_only_the_given_fields_change(service: Service, live: Pair) -> None:
    pair = service.issue(name="before", scopes=["account:read"])
    was = show(service, live, pair.api_key)
    for terms, expected in (
        ({"name": "after"}, {"name": "after"}),
        ({"scopes": ["account:write", "*:read"]}, {"scopes": ["*:read", "account:write"]}),
        ({"expires_at": "2035-01-01T01:00:00+01:00"}, {"expires_at": "2035-01-01T00:00:00.000Z"}),
        ({"expires_at": None}, {"expires_at": None}),
        ({}, {}),
    ):
        answer = change(service, live, pair.api_key, **terms)
        was |= expected
        assert (answer.status, answer.json) == (200, was)
        assert answer.headers["cache-control"] == "no-store"
        assert show(service, live, pair.api_key) == was
        assert sorted(answer.json) == FIELDS


def test_an_empty_change_has_no_effect(service: Service, live: Pair, test: Pair) -> None:
    pair, narrow = service.issue(), service.issue(scopes=["credentials:write"])
    assert service.get("/v1/account", pair.bearer).status == 200

    def written() -> tuple[int, ...]:
        with service.rows.connected() as connection:
            (numbers,) = connection.execute(
                "SELECT (SELECT max(number) FROM audit), (SELECT max(id) FROM invalidation)"
            )
        return tuple(numbers)

    was, before = show(service, live, pair.api_key), written()
    selects = service.metric("latchkey_lookups_total", result="select")
    answer = change(service, live, pair.api_key)
    assert (answer.status, answer.json["scopes"]) == (200, was["scopes"])
    assert {**answer.json, "last_used_at": None} == {**was, "last_used_at": None}
    # A caller without the right to change it gets the error nevertheless.
    INSUFFICIENT_SCOPE.check(
        change(service, narrow, pair.api_key), "bearer", bearer=True, scope="*"
    )
    for by, api_key in ((test, pair.api_key), (live, new_api_key("live"))):
        CREDENTIAL_NOT_FOUND.check(change(service, by, api_key), "bearer", bearer=True)
    assert written() == before
    # It was not forgotten either.
    assert service.get("/v1/account", pair.bearer).status == 200
    assert service.metric("latchkey_lookups_total", result="select") - selects <= 2
    revoke(service, live, pair.api_key)
    CREDENTIAL_NOT_FOUND.check(change(service, live, pair.api_key), "bearer", bearer=True)


def test_changed_scopes_take_effect_immediately(service: Service, live: Pair) -> None:
    pair = service.issue()
    for _ in range(3):
        assert service.get("/v1/account", pair.bearer).status == 200
    change(service, live, pair.api_key, scopes=["credentials:read"])
    answer = service.get("/v1/account", pair.bearer)
    INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="account:read")
    change(service, live, pair.api_key, scopes=["account:read"], name="renamed")
    assert service.get("/v1/account", pair.bearer).json["name"] == "renamed"


def test_a_changed_expiry_takes_effect_immediately(service: Service, live: Pair) -> None:
    pair = service.issue()

    def use(end: datetime) -> None:
        assert service.get("/v1/account", pair.bearer).status == 200
        assert change(service, live, pair.api_key, expires_at=end.isoformat()).status == 200

    _, end = in_time(use)
    await_end(end)
    EXPIRED.check(service.get("/v1/account", pair.bearer), "bearer", bearer=True)
    assert change(service, live, pair.api_key, expires_at=None).json["status"] == "active"
    assert service.get("/v1/account", pair.bearer).status == 200


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"scopes": ["nothing"]}, "scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 1}, "expires_at"),
        ({"mode": "test"}, "mode"),
        ({"revoked_at": None}, "revoked_at"),
    ],
)
def test_an_invalid_body(
    service: Service, live: Pair, terms: dict[str, object], field: str
) -> None:
    pair = service.issue()
    was = show(service, live, pair.api_key)
    answer = change(service, live, pair.api_key, **terms)
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert field in answer.json["error"]["message"]
    assert show(service, live, pair.api_key) == was
    # Before it is looked whether there is such a key.
    INVALID_FIELD.check(change(service, live, new_api_key("live"), **terms), "bearer", bearer=True)


def test_a_change_needs_a_body(service: Service, live: Pair) -> None:
    path = f"/v1/api_keys/{service.issue().api_key}"
    UNSUPPORTED_MEDIA_TYPE.check(service.request("PATCH", path, live.headers), "pair")
    large = service.request(
        "PATCH", path, {**live.headers, "Content-Type": "application/json"}, body=b" " * 17_000
    )
    PAYLOAD_TOO_LARGE.check(large, "pair")


def test_a_caller_cannot_change_or_grant_more_than_it_has(service: Service) -> None:
    writer = service.issue(scopes=["credentials:write", "account:read"])
    more = service.issue(scopes=["account:write"])
    same = service.issue(scopes=["account:read"])
    for answer in (
        change(service, writer, more.api_key, name="mine"),
        change(service, writer, more.api_key, scopes=["account:read"]),
        change(service, writer, same.api_key, scopes=["account:write"]),
        rotate(service, writer, more.api_key),
    ):
        INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="account:write")
    assert change(service, writer, same.api_key, name="mine").status == 200
    assert rotate(service, writer, same.api_key).status == 201
    for who in (more, same):
        for answer in (
            change(service, who, who.api_key),
            rotate(service, who, who.api_key),
        ):
            INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="credentials:write")


def test_a_caller_cannot_extend_a_key_past_its_own_expiry(service: Service) -> None:
    end = "2035-06-01T00:00:00.000Z"
    who, endless = service.issue(expires_at=end), service.issue()
    for given in ("2035-06-01T00:00:00.001Z", None):
        for target in (who, endless):
            answer = change(service, who, target.api_key, expires_at=given)
            assert (answer.status, answer.code) == (403, "insufficient_scope")
    assert rotate(service, who, endless.api_key).status == 403
    assert change(service, who, endless.api_key, expires_at=end).json["expires_at"] == end


# ---- Rotation


def test_rotation(service: Service, live: Pair) -> None:
    end = "2035-06-01T00:00:00.000Z"
    old = service.issue(name="billing", scopes=["account:read"], expires_at=end)
    account = service.get("/v1/account", old.bearer).json["id"]
    before = datetime.now(UTC)
    answer = rotate(service, live, old.api_key, overlap_seconds=3600)
    assert answer.status == 201
    assert sorted(answer.json) == sorted([*FIELDS, "api_secret"])
    new = Pair(answer.json["api_key"], answer.json["api_secret"])
    assert (answer.json["name"], answer.json["scopes"]) == ("billing", ["account:read"])
    assert (answer.json["expires_at"], answer.json["last_used_at"]) == (end, None)
    for pair in (old, new):
        said = service.get("/v1/account", pair.bearer).json
        assert (said["id"], said["api_key"]) == (account, pair.api_key)
    shown = show(service, live, old.api_key)
    assert (shown["rotated_to"], shown["status"]) == (new.api_key, "active")
    overlap = when(shown["expires_at"]) - before
    assert timedelta(hours=1) - timedelta(seconds=1) <= overlap < timedelta(hours=1, minutes=1)
    again = rotate(service, live, old.api_key)
    ALREADY_ROTATED.check(again, "bearer")
    assert new.api_key in again.json["error"]["message"]
    put_off = change(service, live, old.api_key, expires_at=end)
    INVALID_FIELD.check(put_off, "bearer", bearer=True)
    assert "expires_at" in put_off.json["error"]["message"]


def test_without_an_overlap_the_old_key_expires_immediately(service: Service, live: Pair) -> None:
    old = service.issue()
    for _ in range(3):
        assert service.get("/v1/account", old.bearer).status == 200
    new = rotate(service, live, old.api_key, overlap_seconds=0).json
    for _ in range(3):
        EXPIRED.check(service.get("/v1/account", old.bearer), "bearer", bearer=True)
    again = rotate(service, live, old.api_key)
    KEY_EXPIRED.check(again, "bearer")
    assert new["api_key"] in again.json["error"]["message"]


def test_rotation_needs_no_body(service: Service, live: Pair) -> None:
    for headers, body in (
        (live.headers, None),
        ({**live.headers, "Content-Type": "application/json"}, b"{}"),
    ):
        old = service.issue()
        path = f"/v1/api_keys/{old.api_key}/rotate"
        assert service.request("POST", path, headers, body=body).status == 201
        ends = when(show(service, live, old.api_key)["expires_at"]) - datetime.now(UTC)
        assert timedelta(hours=23) < ends <= timedelta(days=1)
    # A body without a Content-Type is refused, as on every route.
    path = f"/v1/api_keys/{service.issue().api_key}/rotate"
    UNSUPPORTED_MEDIA_TYPE.check(service.request("POST", path, live.headers, body=b"{}"), "pair")


@pytest.mark.parametrize("overlap", [-1, 2_592_001, 1.5, "60", None, True, 10**30])
def test_an_overlap_that_is_not_allowed(service: Service, live: Pair, overlap: object) -> None:
    old = service.issue()
    answer = rotate(service, live, old.api_key, overlap_seconds=overlap)
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert "overlap_seconds" in answer.json["error"]["message"]
    assert show(service, live, old.api_key)["rotated_to"] is None


def test_the_longest_overlap(service: Service, live: Pair) -> None:
    old = service.issue()
    assert rotate(service, live, old.api_key, overlap_seconds=2_592_000).status == 201
    ends = when(show(service, live, old.api_key)["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < ends <= timedelta(days=30)


def test_a_key_rotates_itself(service: Service) -> None:
    old = service.issue()
    made = rotate(service, old, old.api_key)
    assert made.status == 201
    retried = rotate(service, old, old.api_key)
    ALREADY_ROTATED.check(retried, "bearer")
    assert made.json["api_key"] in retried.json["error"]["message"]


def test_a_change_of_an_unknown_key(service: Service, live: Pair, test: Pair) -> None:
    revoked = service.issue()
    revoke(service, live, revoked.api_key)
    for api_key in (revoked.api_key, test.api_key, new_api_key("live"), "ak_live_malformed"):
        CREDENTIAL_NOT_FOUND.check(change(service, live, api_key, name="x"), "bearer")
        CREDENTIAL_NOT_FOUND.check(rotate(service, live, api_key), "bearer")
    REVOKED.check(service.get("/v1/account", revoked.bearer), "bearer", bearer=True)
    for api_key in (test.api_key, new_api_key("live"), "ak_live_malformed"):
        CREDENTIAL_NOT_FOUND.check(usage(service, live, api_key), "bearer")


# ---- Use


def test_usage_up_to_the_last_request(service: Service, live: Pair) -> None:
    pair = service.issue()
    fresh = usage(service, live, pair.api_key)
    assert (fresh.status, fresh.json) == (
        200,
        {
            "api_key": pair.api_key,
            "requests": 0,
            "last_used_at": None,
            "hours": [],
            "days": [],
            "refusals": dict.fromkeys(REFUSAL_REASONS, 0),
            "limits": [],
        },
    )
    assert show(service, live, pair.api_key)["last_used_at"] is None
    for number in range(1, 8):
        before = datetime.now(UTC) - timedelta(seconds=1)
        headers = pair.bearer if number % 2 else pair.headers
        assert service.get("/v1/account", headers).status == 200
        said = usage(service, live, pair.api_key).json
        assert said["requests"] == number
        assert sum(hour["requests"] for hour in said["hours"]) == number
        assert sum(day["requests"] for day in said["days"]) == number
        assert before <= when(said["last_used_at"]) <= datetime.now(UTC)
        assert show(service, live, pair.api_key)["last_used_at"] == said["last_used_at"]


def test_the_usage_of_the_caller(service: Service) -> None:
    """The request itself is a use."""
    pair = service.issue()
    for number in range(1, 4):
        assert usage(service, pair, pair.api_key).json["requests"] == number


def test_usage_is_the_same_before_and_after_it_is_persisted(service: Service, live: Pair) -> None:
    pair = service.issue()
    for _ in range(5):
        service.get("/v1/account", pair.bearer)
    first = usage(service, live, pair.api_key).json

    def is_persisted() -> bool:
        assert usage(service, live, pair.api_key).json == first
        with service.rows.connected() as connection:
            (uses,) = connection.execute(
                "SELECT coalesce(sum(usage.uses), 0) FROM usage JOIN credential "
                "ON credential.id = credential_id WHERE api_key = ?",
                [pair.api_key],
            ).fetchone()
        return bool(uses == 5)

    wait_until(is_persisted, "the flush")
    assert usage(service, live, pair.api_key).json == first


def test_refusals_are_not_uses_and_count_if_the_secret_was_correct(
    service: Service, live: Pair
) -> None:
    pair = service.issue(scopes=["credentials:read"])
    assert service.get("/v1/account", pair.bearer).status == 403
    forged = Pair(pair.api_key, DerivationKey(bytes(32)).derive(pair.api_key))
    assert service.get("/v1/account", forged.bearer).status == 401
    revoke(service, live, pair.api_key)
    for _ in range(3):
        assert service.get("/v1/account", pair.bearer).status == 401
    said = usage(service, live, pair.api_key).json
    assert said["refusals"]["revoked"] == 3
    assert said["refusals"]["expired"] == 0
    # The request passed the check of the key, and was then refused for its scope.
    assert said["requests"] + said["refusals"]["scope"] >= 1


@pytest.mark.parametrize(
    ("scope", "status"),
    [("credentials:read", 200), ("*:read", 200), ("account:write", 403)],
)
def test_usage_needs_a_scope(service: Service, live: Pair, scope: str, status: int) -> None:
    who = service.issue(scopes=[scope])
    assert usage(service, who, live.api_key).status == status


def test_an_expiry_that_is_reached_during_the_request_counts_as_future(
    service: Service, live: Pair
) -> None:
    pair = service.issue()
    answer = change(service, live, pair.api_key, expires_at=later(seconds=-1))
    INVALID_FIELD.check(answer, "bearer", bearer=True)
