"""Limits over HTTP: bodies that are accepted, callers that may set limits, and objects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api.accounts import (
    change_account,
    key_for,
    limited_key,
    manager,
    new_account,
)
from tests.support.api.contract import (
    INSUFFICIENT_SCOPE,
    INVALID_FIELD,
    create,
    derived,
    forged,
    show,
)
from tests.support.api.shapes import when
from tests.support.service import Answer, Pair, Service

RATE = {"name": "default", "rate": "100/minute", "burst": 20}
MONTHLY = {"name": "monthly", "quota": 1_000_000, "period": "month", "refill_on": 5}
TOTAL = {"name": "trial", "quota": 10, "period": "total"}


@pytest.fixture(scope="module")
def boss(service: Service) -> Pair:
    return manager(service)


@pytest.fixture(scope="module")
def account(service: Service, boss: Pair) -> Any:
    return new_account(service, boss, name="limited")


def patch(service: Service, by: Pair, path: str, **terms: object) -> Answer:
    return service.request("PATCH", path, by.bearer, json_body=terms)


@pytest.mark.parametrize(
    ("limits", "place"),
    [
        ({}, "limits"),
        ([], "limits"),
        ("100/minute", "limits"),
        ([None], "limits.0"),
        (["100/minute"], "limits.0"),
        ([{}], "limits.0"),
        ([{"name": "x"}], "limits.0"),
        ([{"rate": "1/day", "quota": 1, "period": "day"}], "limits.0"),
        ([{"rate": "1/day", "surprise": 1}], "limits.0.surprise"),
        ([{"rate": "1/day"}, {"name": "x", "rate": "1/day", "cost": 1}], "limits.1.cost"),
        ([{"rate": "1/day", "period": "day"}], "limits.0.period"),
        ([{"rate": "1/day", "refill_on": 1}], "limits.0.refill_on"),
        ([{"quota": 1, "period": "day", "burst": 1}], "limits.0.burst"),
        *(
            ([{"rate": rate}], "limits.0.rate")
            for rate in (
                *(None, 1, True, "", "100", "1/week", "0/day", "01/day", "1.5/day", "-1/day"),
                *("1 / day", "1/day\n", "1e3/day", "1000001/second", "86400000001/day", "9" * 40),
            )
        ),
        *(
            ([{"rate": "100/day", "burst": burst}], "limits.0.burst")
            for burst in (None, 0, -1, 1.0, 1.5, True, "1", 10**30, 36_601)
        ),
        *(
            ([{"quota": quota, "period": "day"}], "limits.0.quota")
            for quota in (None, 0, -1, 1.0, True, "1", 10**12 + 1, 10**40)
        ),
        ([{"quota": 1}], "limits.0.period"),
        *(
            ([{"quota": 1, "period": period}], "limits.0.period")
            for period in (None, 1, "", "week", "minute", "Month")
        ),
        *(
            ([{"quota": 1, "period": "month", "refill_on": day}], "limits.0.refill_on")
            for day in (None, 0, 29, 1.0, True, "1")
        ),
        ([{"quota": 1, "period": "day", "refill_on": 1}], "limits.0.refill_on"),
        *(
            ([{"name": name, "rate": "1/day"}], "limits.0.name")
            for name in (None, 1, "", "A", "1st", "a b", "a" * 33, "a.b", "caf\u00e9", "a\n")
        ),
        ([{"rate": "1/day"}, {"quota": 1, "period": "day"}], "limits.1.name"),
        ([{"name": f"n{number}", "rate": "1/day"} for number in range(5)], "limits"),
    ],
)
def test_invalid_limits(
    service: Service, boss: Pair, account: Any, limits: object, place: str
) -> None:
    """On every route, and before the object is looked up."""
    for answer in (
        create(service, boss, scopes=["*"], limits=limits),
        patch(service, boss, f"/v1/api_keys/{boss.api_key}", limits=limits),
        patch(service, boss, f"/v1/accounts/{account['id']}", limits=limits),
        service.request(
            "POST", "/v1/accounts", boss.bearer, json_body={"name": "x", "limits": limits}
        ),
    ):
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert answer.json["error"]["message"].startswith(f"{place}: "), answer.json
    assert show(service, boss, boss.api_key)["limits"] is None


def test_limits_at_their_bounds(service: Service, boss: Pair) -> None:
    for given, shown in (
        ({"rate": "1/day"}, {"name": "default", "rate": "1/day", "burst": 1}),
        ({"rate": "86400000000/day"}, {"rate": "86400000000/day", "burst": 86_400_000_000}),
        ({"rate": "1000000/second", "burst": 1}, {"rate": "1000000/second", "burst": 1}),
        ({"rate": "100/day", "burst": 36_600}, {"burst": 36_600}),
        ({"quota": 10**12, "period": "total"}, {"quota": 10**12, "period": "total"}),
        ({"quota": 1, "period": "month"}, {"period": "month", "refill_on": 1}),
        ({"quota": 1, "period": "month", "refill_on": 28}, {"refill_on": 28}),
        ({"name": "a" + "-" * 31, "rate": "1/day"}, {"name": "a" + "-" * 31}),
    ):
        made = create(service, boss, scopes=["orders:read"], limits=[given])
        assert made.status == 201, made
        (limit,) = made.json["limits"]
        assert limit == {**limit, **shown}
    assert (
        "refill_on"
        not in create(
            service, boss, scopes=["orders:read"], limits=[{"quota": 1, "period": "day"}]
        ).json["limits"][0]
    )


def test_limits_of_a_key(service: Service, boss: Pair) -> None:
    made = create(service, boss, scopes=["account:read"], limits=[RATE, MONTHLY])
    path = f"/v1/api_keys/{made.json['api_key']}"
    assert (made.json["limits"], made.json["limits_of"]) == ([RATE, MONTHLY], None)
    shown = show(service, boss, made.json["api_key"])
    assert (shown["limits"], shown["limits_of"]) == ([RATE, MONTHLY], None)
    assert patch(service, boss, path, name="renamed").json["limits"] == [RATE, MONTHLY]
    assert patch(service, boss, path, limits=[TOTAL]).json["limits"] == [TOTAL]
    assert patch(service, boss, path, limits=None).json["limits"] is None
    assert show(service, boss, made.json["api_key"])["limits"] is None


def test_limits_of_an_account(service: Service, boss: Pair) -> None:
    made = new_account(service, boss, limits=[RATE, TOTAL])
    path = f"/v1/accounts/{made['id']}"
    assert made["limits"] == [RATE, TOTAL]
    assert service.get(path, boss.bearer).json["limits"] == [RATE, TOTAL]
    assert change_account(service, boss, made["id"], name="renamed")["limits"] == [RATE, TOTAL]
    assert change_account(service, boss, made["id"], limits=[MONTHLY])["limits"] == [MONTHLY]
    assert change_account(service, boss, made["id"], limits=None)["limits"] is None
    assert new_account(service, boss)["limits"] is None


def test_only_callers_with_accounts_write_set_limits(service: Service, boss: Pair) -> None:
    full = service.issue("live", scopes=["*"])
    own = f"/v1/api_keys/{full.api_key}"
    for answer in (
        create(service, full, limits=[RATE]),
        create(service, full, limits=None),
        patch(service, full, own, limits=[RATE]),
        patch(service, full, own, limits=None),
    ):
        INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="accounts:write")
    assert show(service, boss, full.api_key)["limits"] is None
    assert create(service, full).status == 201


def test_keys_that_share_limits(service: Service, boss: Pair, account: Any) -> None:
    limited = key_for(service, boss, account["id"], limits=[{"name": "d", "rate": "9/day"}])
    shared = show(service, boss, limited.api_key)["limits"]
    made = create(service, limited).json
    assert (made["limits"], made["limits_of"]) == (shared, limited.api_key)
    rotated = service.request(
        "POST", f"/v1/api_keys/{made['api_key']}/rotate", limited.bearer, json_body={}
    ).json
    assert (rotated["limits"], rotated["limits_of"]) == (shared, limited.api_key)
    # Three requests were counted against the one limit, or were made with other keys.
    own = service.get("/v1/api_keys/self", Pair(rotated["api_key"], rotated["api_secret"]).bearer)
    assert own.json["limits"][0]["remaining"] == 9 - 3
    path = f"/v1/api_keys/{rotated['api_key']}"
    detached = patch(service, boss, path, limits=[TOTAL]).json
    assert (detached["limits"], detached["limits_of"]) == ([TOTAL], None)


def test_what_remains(service: Service, boss: Pair) -> None:
    account = new_account(service, boss, limits=[{"name": "daily", "rate": "50/day"}])
    key = key_for(
        service, boss, account["id"], limits=[{"rate": "10/day"}, TOTAL], scopes=["account:read"]
    )
    own = service.get("/v1/api_keys/self", key.bearer).json["limits"]
    assert [(one["name"], one["source"], one["remaining"]) for one in own] == [
        *(("default", "key", 9), ("trial", "key", 9), ("daily", "account", 49)),
    ]
    assert (own[0]["rate"], own[0]["burst"]) == ("10/day", 10)
    assert (own[1]["quota"], own[1]["period"], own[1]["reset_at"]) == (10, "total", None)
    when(own[0]["reset_at"])
    told = service.get("/v1/account", key.bearer).json["limits"]
    assert [one["remaining"] for one in told] == [8, 8, 48]
    usage = service.get(f"/v1/api_keys/{key.api_key}/usage", boss.bearer).json["limits"]
    assert [(one["name"], one["remaining"]) for one in usage] == [
        *(("default", 8), ("trial", 8), ("daily", 48)),
    ]
    usage = service.get(f"/v1/accounts/{account['id']}/usage", boss.bearer).json["limits"]
    assert [(one["name"], one["source"], one["remaining"]) for one in usage] == [
        ("daily", "account", 48)
    ]
    assert service.get("/v1/api_keys/self", boss.bearer).json["limits"] == []


def test_a_limited_key_of_the_api(service: Service, boss: Pair, account: Any) -> None:
    """The headers of answers, and the refusal; requests that fail take units, too."""
    key = key_for(service, boss, account["id"], limits=[{"name": "d", "rate": "3/day"}])
    for path, status, left in (
        ("/v1/account", 200, 2),
        ("/v1/nothing", 404, 1),
        ("/v1/accounts", 403, 0),
        ("/v1/account", 429, 0),
    ):
        answer = service.get(path, key.bearer)
        assert answer.status == status
        assert answer.headers["ratelimit-policy"] == '"d";q=3;w=86400'
        assert answer.headers["ratelimit"].startswith(f'"d";r={left};t=')
    assert answer.code == "rate_limited"
    assert 0 < int(answer.headers["retry-after"]) <= 8 * 3_600


# Checks for other services.


def check(service: Service, by: Pair, key: Pair, **more: object) -> Any:
    body = {"api_secret": key.api_secret, **more}
    answer = service.request("POST", "/v1/verify", by.bearer, json_body=body)
    assert answer.status == 200, answer
    # The caller has no limits.
    assert "ratelimit" not in answer.headers
    return answer.json


def left(found: Any) -> list[tuple[str, int]]:
    return [(one["name"], one["remaining"]) for one in found["limits"]]


@pytest.fixture(scope="module")
def verifier(service: Service) -> Pair:
    return service.create_key("live", "--scope", "verify:write")


def test_what_a_check_takes(service: Service, boss: Pair, verifier: Pair) -> None:
    key = limited_key(
        service, boss, {"name": "d", "rate": "9/day"}, {"name": "q", "quota": 20, "period": "total"}
    )
    found = check(service, verifier, key)
    assert (found["code"], left(found)) == ("VALID", [("d", 8), ("q", 19)])
    (rate, quota) = found["limits"]
    assert (rate["source"], quota["source"]) == ("key", "key")
    when(rate["reset_at"])
    assert quota["reset_at"] is None
    assert left(check(service, verifier, key, cost=3)) == [("d", 5), ("q", 16)]
    refused = check(service, verifier, key, cost=6)
    assert (refused["valid"], refused["code"]) == (False, "RATE_LIMITED")
    assert refused["api_key"] == key.api_key
    monthly = limited_key(service, boss, {"name": "m", "quota": 20, "period": "month"})
    (quota,) = check(service, verifier, monthly)["limits"]
    assert quota["reset_at"].endswith("-01T00:00:00.000Z")
    assert left(refused) == [("d", 5), ("q", 16)]
    refused = check(service, verifier, key, cost=1_000_000)
    assert (refused["code"], left(refused)) == ("RATE_LIMITED", [("d", 5), ("q", 16)])
    refused = check(service, verifier, key, scopes=["orders:write"], cost=2)
    assert (refused["code"], left(refused)) == ("INSUFFICIENT_SCOPE", [("d", 3), ("q", 14)])
    usage = service.usage(key)
    assert usage["requests"] == 3
    assert {reason: count for reason, count in usage["refusals"].items() if count} == {
        "scope": 1,
        "rate_limited": 2,
    }
    used = limited_key(service, boss, {"quota": 1, "period": "total"})
    assert check(service, verifier, used)["code"] == "VALID"
    refused = check(service, verifier, used)
    assert (refused["code"], left(refused)) == ("QUOTA_EXCEEDED", [("default", 0)])


def test_checks_that_take_nothing(service: Service, boss: Pair, account: Any) -> None:
    key = limited_key(service, boss, {"rate": "9/day"}, networks=["192.0.2.0/24"])
    customer = service.create_key("live", "--scope", "verify:write", "--account", account["id"])
    of_tests = service.create_key("test", "--scope", "verify:write")
    verifier = service.create_key("live", "--scope", "verify:write")
    for by, asked, more, code in (
        (customer, key, {}, "INVALID_API_KEY"),
        (of_tests, key, {}, "INVALID_API_KEY"),
        (verifier, forged(key), {}, "INVALID_API_KEY"),
        (verifier, key, {"address": "198.51.100.1"}, "ADDRESS_NOT_ALLOWED"),
    ):
        found = check(service, by, asked, **{"address": "192.0.2.1", "cost": 5, **more})
        assert (found["code"], "limits" in found) == (code, False)
    assert check(service, verifier, derived(service))["code"] == "INVALID_API_KEY"
    found = check(service, verifier, key, address="192.0.2.1")
    assert left(found) == [("default", 8)]


def test_each_item_of_a_batch_takes_for_itself(
    service: Service, boss: Pair, verifier: Pair
) -> None:
    key = limited_key(service, boss, {"rate": "5/day"})
    plain = service.issue("live")
    items = [
        {"api_secret": key.api_secret, "cost": 3},
        {"api_secret": key.api_secret, "cost": 3},
        {"api_secret": plain.api_secret, "cost": 3},
        {"api_secret": key.api_secret, "cost": 2},
        {"api_secret": key.api_secret},
    ]
    answer = service.request(
        "POST", "/v1/verify/batch", verifier.bearer, json_body={"items": items}
    )
    results = answer.json["results"]
    assert [one["code"] for one in results] == [
        *("VALID", "RATE_LIMITED", "VALID", "VALID", "RATE_LIMITED"),
    ]
    # What remains is shown as it is at the end of its own check.
    assert [left(one) for one in results] == [
        *([("default", 2)], [("default", 2)], [], [("default", 0)], [("default", 0)]),
    ]
