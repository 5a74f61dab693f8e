"""The routes of credentials and of the account: fields, registration, modes, expiry, revocation."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.api.contract import (
    CREDENTIAL_NOT_FOUND,
    DUPLICATE,
    EXPIRED,
    INSUFFICIENT_SCOPE,
    INVALID,
    INVALID_FIELD,
    METHOD_NOT_ALLOWED,
    MISSING,
    REALM,
    REVOKED,
    create,
    derived,
    register,
    revoke,
    show,
)
from tests.support.api.shapes import FIELDS, TIME, later, when
from tests.support.faults.service_processes import wait_until
from tests.support.service import Pair, Service
from tests.support.times import await_end, in_time

# Shapes.


def test_account(service: Service, live: Pair) -> None:
    account = service.get("/v1/account", live.bearer).json
    account_id = account.pop("id")
    assert isinstance(account_id, str)
    assert account_id
    assert account == {
        "object": "account",
        "name": "test",
        "mode": "live",
        "api_key": live.api_key,
        "scopes": ["*"],
        "external_id": None,
        "metadata": None,
        "limits": [],
    }
    assert service.get("/v1/account", live.headers).json["id"] == account_id


def test_created_credential(service: Service, live: Pair) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    answer = create(service, live, name="billing", scopes=["credentials:read", "account:read"])
    assert answer.status == 201
    made = answer.json
    assert sorted(made) == sorted([*FIELDS, "api_secret"])
    assert re.fullmatch(r"ak_live_[0-9A-Za-z]{22}", made["api_key"])
    assert re.fullmatch(r"sk_live_[0-9A-Za-z]{71}", made["api_secret"])
    assert made["api_secret"][8:30] == made["api_key"][8:]
    assert before <= when(made["created_at"]) <= datetime.now(UTC)
    assert when(made["rotate_by"]) - when(made["created_at"]) == timedelta(days=90)
    assert {name: made[name] for name in FIELDS if name not in ("api_key", "created_at")} == {
        "name": "billing",
        "mode": "live",
        "account": service.get("/v1/account", live.bearer).json["id"],
        "scopes": ["account:read", "credentials:read"],
        "status": "active",
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
        "rotate_by": made["rotate_by"],
        "rotated_to": None,
        "origin": "derived",
        "enabled": True,
        "not_before": None,
        "networks": None,
        "networks_mode": "enforce",
        "endpoints": None,
        "metadata": None,
        "limits": None,
        "limits_of": None,
    }
    assert (
        service.get("/v1/account", Pair(made["api_key"], made["api_secret"]).bearer).status == 200
    )


def test_secret_is_shown_once(service: Service, live: Pair) -> None:
    made = create(service, live).json
    secret = made.pop("api_secret")
    shown = service.get(f"/v1/api_keys/{made['api_key']}", live.bearer)
    assert shown.json == made
    for path in ("/credentials?limit=100", "/v1/api_keys?limit=100"):
        listed = service.get(path, live.bearer)
        assert made in listed.json["credentials"]
        assert secret.encode() not in listed.body
    assert secret.encode() not in shown.body


def test_listings_of_both_addresses_are_the_same(service: Service, live: Pair) -> None:
    root, versioned = (
        service.get(path, live.bearer).json for path in ("/credentials", "/v1/api_keys")
    )
    for page in (root, versioned):
        assert sorted(page) == ["credentials", "next_cursor"]
        for listed in page["credentials"]:
            assert sorted(listed) == FIELDS
            for name in ("created_at", "expires_at", "revoked_at", "last_used_at", "rotate_by"):
                assert listed[name] is None or TIME.fullmatch(listed[name])
            # Asking for the listing is itself a use.
            if listed["api_key"] == live.api_key:
                assert listed.pop("last_used_at") is not None
    assert root == versioned


def test_times_are_given_in_utc_with_milliseconds(service: Service, live: Pair) -> None:
    for given, expected in (
        ("2035-01-01T01:30:00+02:00", "2034-12-31T23:30:00.000Z"),
        ("2035-01-01t00:00:00z", "2035-01-01T00:00:00.000Z"),
        ("2035-01-01T00:00:00.1239999Z", "2035-01-01T00:00:00.123Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ):
        assert create(service, live, expires_at=given).json["expires_at"] == expected


# Registration.


def test_registration_of_a_pair_from_the_vendor_command(service: Service) -> None:
    """The complete procedure, with the vendor's own command."""
    pair = service.derive_pair("test")
    INVALID.check(service.get("/credentials", pair.headers), "pair")
    answer = register(service, pair, name="from the vendor")
    assert (answer.status, answer.json) == (201, {"api_key": pair.api_key})
    account = service.get("/v1/account", pair.headers).json
    assert (account["mode"], account["scopes"]) == ("test", ["*"])
    shown = show(service, pair, pair.api_key)
    assert (shown["name"], shown["expires_at"]) == ("from the vendor", None)
    DUPLICATE.check(register(service, pair), "pair")
    assert revoke(service, pair, pair.api_key).status == 200
    DUPLICATE.check(register(service, pair, name="again"), "pair")
    REVOKED.check(service.get("/credentials", pair.headers), "pair")


def test_registration_needs_no_name(service: Service) -> None:
    for more in ({}, {"name": None}):
        pair = derived(service)
        assert register(service, pair, **more).status == 201
        assert service.get("/v1/account", pair.bearer).json["name"] is None


def test_a_registered_key_works_immediately_after_it_was_unknown(solo: Service) -> None:
    pair = derived(solo)
    for _ in range(2):
        INVALID.check(solo.get("/v1/account", pair.bearer), "bearer", bearer=True)
    assert register(solo, pair).status == 201
    assert solo.get("/v1/account", pair.bearer).status == 200


def test_a_disabled_registration_gets_404(closed: Service) -> None:
    pair = derived(closed)
    MISSING.check(register(closed, pair), "pair")
    caller = closed.issue()
    answer = closed.request("POST", "/credentials", caller.headers, json_body=vars(pair))
    METHOD_NOT_ALLOWED.check(answer, "pair")
    assert answer.headers["allow"] == "GET, HEAD"
    # Other ways to make a key stay open.
    assert create(closed, caller).status == 201


# Modes.


def test_modes_are_separate(service: Service, live: Pair, test: Pair) -> None:
    for caller, mode, other in ((live, "live", test), (test, "test", live)):
        assert service.get("/v1/account", caller.bearer).json["mode"] == mode
        assert create(service, caller).json["mode"] == mode
        assert create(service, caller, mode=mode).json["mode"] == mode
        for path in ("/credentials", "/v1/api_keys"):
            listed = service.get(f"{path}?limit=100", caller.bearer).json["credentials"]
            assert {item["mode"] for item in listed} == {mode}
        for method, path in (
            ("GET", "/v1/api_keys"),
            ("DELETE", "/v1/api_keys"),
            ("DELETE", "/credentials"),
        ):
            answer = service.request(method, f"{path}/{other.api_key}", caller.bearer)
            CREDENTIAL_NOT_FOUND.check(answer, "bearer")
        assert service.get("/v1/account", other.bearer).status == 200


def test_creating_in_the_other_mode(service: Service, live: Pair, test: Pair) -> None:
    for caller, other in ((live, "test"), (test, "live")):
        answer = service.request(
            "POST", "/v1/api_keys", caller.headers, json_body={"name": "x", "mode": other}
        )
        INSUFFICIENT_SCOPE.check(answer, "pair")
        answer = create(service, caller, mode=other)
        assert (answer.status, answer.code) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == f'{REALM}, error="insufficient_scope"'


# Ends.


def test_a_caller_cannot_grant_a_later_expiry_than_its_own(service: Service) -> None:
    end = "2035-06-01T00:00:00.000Z"
    caller = service.issue(expires_at=end)
    for given in ("2035-06-01T00:00:00.001Z", "2040-01-01T00:00:00Z", None):
        answer = create(service, caller, expires_at=given)
        assert (answer.status, answer.code) == (403, "insufficient_scope")
    for given in (end, "2035-05-31T23:59:59.999Z", "2035-06-01T01:00:00+01:00"):
        assert create(service, caller, expires_at=given).status == 201


def test_an_expiry_in_the_past(service: Service, live: Pair) -> None:
    answer = create(service, live, expires_at=later(seconds=-1))
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert "expires_at" in answer.json["error"]["message"]


def test_expiry_is_honoured_for_a_cached_key(solo: Service) -> None:
    owner = solo.issue()

    def use(end: datetime) -> Pair:
        pair = solo.issue(expires_at=end.isoformat())
        hits = solo.metric("latchkey_lookups_total", level="cache", result="hit")
        for _ in range(3):
            assert solo.get("/v1/account", pair.bearer).status == 200
        assert solo.metric("latchkey_lookups_total", level="cache", result="hit") >= hits + 2
        return pair

    pair, end = in_time(use)
    await_end(end)
    for _ in range(2):
        EXPIRED.check(solo.get("/v1/account", pair.bearer), "bearer", bearer=True)
    EXPIRED.check(solo.get("/v1/account", pair.headers), "pair")
    assert show(solo, owner, pair.api_key)["status"] == "expired"
    # An expired key can still be revoked, and then has the status revoked.
    assert revoke(solo, owner, pair.api_key).status == 200
    assert show(solo, owner, pair.api_key)["status"] == "revoked"
    REVOKED.check(solo.get("/v1/account", pair.bearer), "bearer", bearer=True)


# Revocation.


@pytest.mark.parametrize("prefix", ["/credentials", "/v1/api_keys"])
def test_a_revocation_takes_effect_immediately(solo: Service, prefix: str) -> None:
    owner, pair = solo.issue(), solo.issue()
    for _ in range(2):
        assert solo.get("/v1/account", pair.bearer).status == 200
    answer = solo.request("DELETE", f"{prefix}/{pair.api_key}", owner.headers)
    assert (answer.status, answer.json) == (200, {"api_key": pair.api_key, "revoked": True})
    for _ in range(2):
        REVOKED.check(solo.get("/v1/account", pair.bearer), "bearer", bearer=True)
        REVOKED.check(solo.get("/credentials", pair.headers), "pair")
    shown = show(solo, owner, pair.api_key)
    assert shown["status"] == "revoked"
    assert when(shown["created_at"]) <= when(shown["revoked_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize("prefix", ["/credentials", "/v1/api_keys"])
def test_retried_revocation(service: Service, live: Pair, prefix: str) -> None:
    pair = service.issue()
    first = service.request("DELETE", f"{prefix}/{pair.api_key}", live.bearer)
    revoked_at = show(service, live, pair.api_key)["revoked_at"]
    second = service.request("DELETE", f"{prefix}/{pair.api_key}", live.bearer)
    assert first.status == 200
    CREDENTIAL_NOT_FOUND.check(second, "bearer")
    assert show(service, live, pair.api_key)["revoked_at"] == revoked_at
    REVOKED.check(service.get("/v1/account", pair.bearer), "bearer", bearer=True)


def test_key_revokes_itself_without_the_scope(solo: Service) -> None:
    pair, other = solo.issue(scopes=["account:read"]), solo.issue(scopes=["account:read"])
    for path in (f"/v1/api_keys/{other.api_key}", f"/credentials/{pair.api_key}"):
        answer = solo.request("DELETE", path, pair.bearer)
        INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="credentials:write")
    answer = solo.request("DELETE", f"/v1/api_keys/{pair.api_key}", pair.bearer)
    assert (answer.status, answer.json) == (200, {"api_key": pair.api_key, "revoked": True})
    REVOKED.check(solo.get("/v1/account", pair.bearer), "bearer", bearer=True)
    assert solo.get("/v1/account", other.bearer).status == 200


def test_last_key_revokes_itself(solo: Service) -> None:
    """Afterwards, only the command line can create keys."""
    last = solo.issue("test")
    for item in solo.get("/credentials?limit=100", last.headers).json["credentials"]:
        if item["api_key"] != last.api_key and item["status"] == "active":
            assert revoke(solo, last, item["api_key"]).status == 200
    assert revoke(solo, last, last.api_key).status == 200
    REVOKED.check(solo.get("/credentials", last.headers), "pair")
    assert solo.get("/v1/account", solo.create_key("test").bearer).status == 200


# What needs no credential.


def test_health_does_not_use_the_database(closed: Service) -> None:
    """Even if the database is missing. Readiness and lookups detect that (see test_errors)."""
    with closed.rows.away():
        answer = closed.get("/health")
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert closed.get("/ready").status == 503
    # A lost server is tried again after a pause.
    wait_until(lambda: closed.get("/ready").status == 200, "the database")
    answer = closed.get("/ready")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_metrics_count(solo: Service) -> None:
    owner = solo.issue()
    pair, revoked, unknown = solo.issue(), solo.issue(), derived(solo)
    assert revoke(solo, owner, revoked.api_key).status == 200

    def counts() -> dict[str, float]:
        outcomes = ("authenticated", "open", "missing", "invalid", "revoked", "ambiguous")
        found = {
            outcome: solo.metric("latchkey_requests_total", outcome=outcome) for outcome in outcomes
        }
        for level, result in (("cache", "hit"), ("store", "select"), ("derivation", "forged")):
            found[result] = solo.metric("latchkey_lookups_total", level=level, result=result)
        return found

    before = counts()
    for _ in range(3):
        solo.get("/v1/account", pair.bearer)
    solo.get("/v1/account")
    solo.get("/health")
    solo.get("/v1/account", unknown.bearer)
    solo.get("/v1/account", revoked.bearer)
    solo.get("/v1/account", {**pair.bearer, **pair.headers})
    after = counts()
    gained = {name: after[name] - before[name] for name in before}
    # Reading the metrics is itself a request to an open route, once for each number.
    assert gained.pop("open") == 1 + len(before)
    assert gained == {
        "authenticated": 3,
        "missing": 1,
        "invalid": 1,
        "revoked": 1,
        "ambiguous": 1,
        "hit": 2,
        "select": 3,
        "forged": 0,
    }
    answer = solo.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b'latchkey_cache_entries{level="cache"} ' in answer.body
