"""Limits of keys on the routes of proxies: what requests take, and in which order; headers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api.accounts import limited_key, manager
from tests.support.service import Answer, Pair, Service
from tests.support.verify.asking import PROXIES, Question, question

WITH_QUERY = tuple(proxy for proxy in PROXIES if proxy != "envoy")
EDGE = "192.0.2.7, 10.0.0.1"
DAILY: dict[str, object] = {"name": "daily", "rate": "9/day"}


@pytest.fixture(scope="module")
def boss(service: Service) -> Pair:
    return manager(service)


@pytest.fixture(scope="module")
def ruler(ruled: Service) -> Pair:
    return manager(ruled)


def ask(service: Service, key: Pair, proxy: str, **asked: Any) -> Answer:
    given = {"address": EDGE, **asked}
    return service.send_raw(question(proxy, headers=key.bearer, **given).wire())


def left(answer: Answer) -> str:
    """What remains of the limits, as the answer tells it; empty without a limit."""
    assert ("ratelimit" in answer.headers) == ("ratelimit-policy" in answer.headers)
    return answer.headers.get("ratelimit", "").partition(";t=")[0]


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_limited_key(service: Service, boss: Pair, proxy: str) -> None:
    key = limited_key(service, boss, {**DAILY, "rate": "3/day"})
    for remaining in (2, 1, 0):
        answer = ask(service, key, proxy)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["x-latchkey-key"] == key.api_key
        assert answer.headers["ratelimit-policy"] == '"daily";q=3;w=86400'
        assert left(answer) == f'"daily";r={remaining}'
    answer = ask(service, key, proxy)
    assert answer.code == "rate_limited"
    assert left(answer) == '"daily";r=0'
    assert "x-latchkey-key" not in answer.headers
    wait = answer.headers["retry-after"]
    assert 0 < int(wait) <= 8 * 3_600
    if proxy == "nginx":
        assert answer.status == 403
        assert answer.headers["x-latchkey-status"] == "429"
        assert answer.headers["x-latchkey-retry-after"] == wait
        assert "rate_limited" in answer.headers["x-latchkey-error"]
    else:
        assert answer.status == 429
    usage = service.usage(key)
    assert (usage["requests"], usage["refusals"]["rate_limited"]) == (3, 1)


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_quota_that_is_never_filled_again(service: Service, boss: Pair, proxy: str) -> None:
    key = limited_key(service, boss, {"quota": 1, "period": "total"})
    answer = ask(service, key, proxy)
    assert (answer.status, answer.headers["ratelimit"]) == (200, '"default";r=0')
    answer = ask(service, key, proxy)
    assert (answer.status, answer.code) == (403 if proxy == "nginx" else 429, "quota_exceeded")
    assert answer.headers["ratelimit"] == '"default";r=0'
    assert not {"retry-after", "x-latchkey-retry-after"} & set(answer.headers)


@pytest.mark.parametrize("proxy", WITH_QUERY)
def test_the_cost_of_the_url(service: Service, boss: Pair, proxy: str) -> None:
    key = limited_key(service, boss, DAILY)
    for query, status, remaining in (
        ("cost=4", 200, 5),
        ("", 200, 4),
        ("cost=5", 429, 4),
        ("cost=1000000", 429, 4),
        ("cost=4&scope=orders:read", 200, 0),
    ):
        answer = ask(service, key, proxy, query=query)
        assert int(answer.headers.get("x-latchkey-status", answer.status)) == status, query
        assert left(answer) == f'"daily";r={remaining}', query
        # Waiting does not help if the cost is above the burst.
        assert ("retry-after" in answer.headers) == (query == "cost=5")


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_cost_of_a_rule(ruled: Service, ruler: Pair, proxy: str) -> None:
    key = limited_key(ruled, ruler, DAILY)
    assert left(ask(ruled, key, proxy, target="/bulk/1")) == '"daily";r=6'
    assert left(ask(ruled, key, proxy, target="/orders")) == '"daily";r=5'
    if proxy in WITH_QUERY:
        # The larger cost counts.
        assert left(ask(ruled, key, proxy, target="/bulk/1", query="cost=2")) == '"daily";r=2'
        assert left(ask(ruled, key, proxy, target="/orders", query="cost=2")) == '"daily";r=0'


@pytest.mark.parametrize("proxy", PROXIES)
def test_limits_come_after_conditions_and_before_scopes(
    ruled: Service, ruler: Pair, proxy: str
) -> None:
    key = limited_key(
        ruled, ruler, {"rate": "2/day"}, networks=["192.0.2.0/24"], scopes=["account:read"]
    )
    refused = ask(ruled, key, proxy, address="198.51.100.1, 10.0.0.1")
    assert (refused.status, refused.code, left(refused)) == (403, "address_not_allowed", "")
    refused = ask(ruled, key, proxy, target="/elsewhere")
    assert (refused.status, refused.code, left(refused)) == (403, "endpoint_not_allowed", "")
    refused = ask(ruled, key, proxy, target="/orders/..")
    assert (refused.code, left(refused)) == ("invalid_request", "")
    refused = ask(ruled, key, proxy)
    assert (refused.code, left(refused)) == ("insufficient_scope", '"default";r=1')
    refused = ask(ruled, key, proxy, target="/trial")
    assert (refused.code, left(refused)) == ("mode_not_allowed", '"default";r=0')
    for target in ("/orders", "/trial"):
        refused = ask(ruled, key, proxy, target=target)
        assert (refused.code, left(refused)) == ("rate_limited", '"default";r=0')
    assert ask(ruled, key, proxy, target="/elsewhere").code == "endpoint_not_allowed"
    usage = ruled.usage(key)
    assert usage["requests"] == 2
    assert {reason: count for reason, count in usage["refusals"].items() if count} == {
        "address": 1,
        "scope": 2,
        "rate_limited": 2,
    }


@pytest.mark.parametrize("proxy", WITH_QUERY)
def test_what_takes_nothing(ruled: Service, ruler: Pair, proxy: str) -> None:
    key = limited_key(ruled, ruler, DAILY)
    for asked, status in (
        ({"target": "/open/x"}, 200),
        ({"query": "surprise=1"}, 400),
        ({"query": "cost=0"}, 400),
        ({"host": ""}, 400),
    ):
        answer = ask(ruled, key, proxy, **asked)
        assert int(answer.headers.get("x-latchkey-status", answer.status)) == status, asked
        assert left(answer) == ""
    incomplete = Question("GET", f"/verify/{proxy}", (("Host", "latchkey"), *key.bearer.items()))
    answer = ruled.send_raw(incomplete.wire())
    assert answer.code == "invalid_request"
    assert left(ask(ruled, key, proxy)) == '"daily";r=8'


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_key_without_limits_has_no_headers(service: Service, proxy: str) -> None:
    key = service.issue("live")
    for _ in range(2):
        answer = ask(service, key, proxy)
        assert (answer.status, left(answer)) == (200, "")


def test_all_limits_apply(service: Service, boss: Pair) -> None:
    """Those of the key and of its account, in this order; a limit of each mode is its own."""
    made = service.request(
        "POST",
        "/v1/accounts",
        boss.bearer,
        json_body={"name": "limited", "limits": [DAILY, {"quota": 3, "period": "month"}]},
    ).json
    keys = [
        limited_key(service, boss, {**DAILY, "rate": "5/day"}, account=made["id"]) for _ in range(2)
    ]
    answer = ask(service, keys[0], "traefik")
    policies = answer.headers["ratelimit-policy"].split(", ")
    assert policies[:2] == ['"daily";q=5;w=86400', '"account-daily";q=9;w=86400']
    assert policies[2].startswith('"default";q=3;w=')
    levels = [level.partition(";t=")[0] for level in answer.headers["ratelimit"].split(", ")]
    assert levels == ['"daily";r=4', '"account-daily";r=8', '"default";r=2']
    for key in keys:
        assert ask(service, key, "traefik").status == 200
    answer = ask(service, keys[1], "traefik")
    assert (answer.status, answer.code) == (429, "quota_exceeded")
    levels = [level.partition(";t=")[0] for level in answer.headers["ratelimit"].split(", ")]
    # Nothing was taken from the others.
    assert levels == ['"daily";r=4', '"account-daily";r=6', '"default";r=0']
