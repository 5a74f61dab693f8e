"""The routes file as proxies meet it: rules and the URL together, open rules, the throttle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.service import Answer, Pair, Service
from tests.support.verify.asking import IDENTITY, PROXIES, Question, question

PREFLIGHT = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
NOBODY = dict.fromkeys(IDENTITY, "")
WITH_QUERY = tuple(proxy for proxy in PROXIES if proxy != "envoy")
EDGE = "192.0.2.7, 10.0.0.1"


def ask(service: Service, asked: Question, *more: str) -> Answer:
    return service.send_raw(asked.wire(*more))


def identity(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[name] for name in IDENTITY}


def meant(answer: Answer) -> int:
    """The status, which nginx reads from a header."""
    return int(answer.headers.get("x-latchkey-status", answer.status))


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_first_rule_decides(ruled: Service, reader: Pair, proxy: str) -> None:
    narrow = ruled.issue("live", scopes=["account:read"])
    for method, target, host, key, status in (
        ("GET", "/orders/17?x=%2f", "API.Example.com:443", reader, 200),
        ("HEAD", "/orders", "api.example.com", reader, 200),
        ("GET", "/orders/17", "api.example.com.:443", reader, 200),
        ("GET", "/orders/17", "api.example.com.", narrow, 403),
        ("GET", "/%6frders/%20", "api.example.com", reader, 200),
        ("DELETE", "/orders/17", "api.example.com", reader, 403),
        ("GET", "/orders/17", "other.example.com", reader, 403),
        ("GET", "/Orders/17", "api.example.com", reader, 403),
        ("GET", "/orders/17", "api.example.com", narrow, 403),
        ("GET", "/trial", "api.example.com", reader, 403),
        ("GET", "/elsewhere", "api.example.com", reader, 403),
    ):
        asked = question(
            proxy, method=method, target=target, host=host, headers=key.bearer, address=EDGE
        )
        assert ask(ruled, asked).status == status, (method, target, host)
    answer = ask(ruled, question(proxy, target="/elsewhere", headers=reader.bearer))
    assert answer.code == "endpoint_not_allowed"
    assert "routes file" in answer.json["error"]["message"]


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_open_rule_ignores_credentials(ruled: Service, reader: Pair, proxy: str) -> None:
    for headers in ({}, reader.bearer, {"Authorization": "Bearer sk_live_x"}, reader.headers):
        answer = ask(ruled, question(proxy, target="/open/x", headers=headers))
        assert (answer.status, identity(answer)) == (200, NOBODY), headers


@pytest.mark.parametrize("proxy", WITH_QUERY)
def test_an_open_rule_counts_only_where_the_url_names_no_need(ruled: Service, proxy: str) -> None:
    for query in ("scope=orders:read", "scope_any=a:read", "mode=live", "cost=1", "x=1"):
        answer = ask(ruled, question(proxy, target="/open/x", query=query))
        assert answer.status == 401, query


@pytest.mark.parametrize("proxy", WITH_QUERY)
def test_the_url_and_the_rule_must_both_be_met(ruled: Service, reader: Pair, proxy: str) -> None:
    trial = ruled.issue("test", scopes=["orders:read"])
    for target, query, key, status in (
        ("/orders", "scope=orders:read", reader, 200),
        ("/orders", "scope=account:read", reader, 403),
        ("/orders", "mode=test", trial, 200),
        ("/orders", "", trial, 403),
        ("/trial", "", trial, 200),
        ("/trial", "mode=test", trial, 200),
        ("/trial", "mode=live", trial, 403),
        ("/trial", "mode=live", reader, 403),
    ):
        asked = question(proxy, target=target, query=query, headers=key.bearer)
        assert ask(ruled, asked).status == status, (target, query)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "target",
    [
        *(
            "/orders//1",
            "/orders/%2e%2e/open/x",
            "/orders/../open/x",
            "/open/..%2forders",
            "/open//",
        ),
        *("/open/%2e", "/orders;v=1", "/orders/%00", "/orders/%5c", "/orders/\\x", "/orders/%25"),
        *("/orders/%ff", "/orders/%zz", "http://api.example.com/orders", "/orders#x", "/open/#"),
    ],
)
def test_paths_that_are_read_in_different_ways(
    ruled: Service, reader: Pair, proxy: str, target: str
) -> None:
    answer = ask(ruled, question(proxy, target=target, headers=reader.bearer))
    if proxy == "envoy" and not target.startswith("/"):
        # It is not below the route.
        assert answer.status == 404
    else:
        assert (meant(answer), answer.code) == (400, "invalid_request")
    assert ask(ruled, question(proxy, target=target)).status == 401


@pytest.mark.parametrize("proxy", WITH_QUERY)
def test_a_preflight_passes_where_it_is_configured(
    ruled: Service, service: Service, reader: Pair, proxy: str
) -> None:
    def options(running: Service, query: str, headers: dict[str, str], target: str) -> int:
        asked = question(proxy, method="OPTIONS", target=target, query=query, headers=headers)
        answer = ask(running, asked)
        assert answer.status == 401 or identity(answer) == NOBODY
        return answer.status

    wanted = "preflight=pass&scope=orders:write"
    for running in (ruled, service):
        assert options(running, wanted, PREFLIGHT, "/orders") == 200
        assert options(running, "scope=orders:write", PREFLIGHT, "/orders") == 401
        for missing in PREFLIGHT:
            some = {name: value for name, value in PREFLIGHT.items() if name != missing}
            assert options(running, wanted, some, "/orders") == 401
            assert options(running, wanted, {**PREFLIGHT, missing: ""}, "/orders") == 401
        for more in ({"Authorization": "Basic x"}, {"X-Api-Key": ""}, {"X-Api-Secret": "x"}):
            assert options(running, wanted, {**PREFLIGHT, **more}, "/orders") == 401
        asked = question(proxy, method="GET", query=wanted, headers=PREFLIGHT)
        assert ask(running, asked).status == 401
    # With a routes file, a rule must match the method that the browser will use.
    assert options(ruled, wanted, PREFLIGHT, "/elsewhere") == 401
    assert options(ruled, wanted, PREFLIGHT, "/orders//") == 401
    put = {**PREFLIGHT, "Access-Control-Request-Method": "PUT"}
    assert options(ruled, wanted, put, "/orders") == 401


def test_a_preflight_needs_the_method_of_the_proxy(service: Service) -> None:
    """A client that sends X-Original-Method itself does not turn its GET into a preflight."""
    asked = question("nginx", method="GET", query="preflight=pass", headers=PREFLIGHT)
    for line in ("X-Original-Method: OPTIONS", "X_Original_Method: OPTIONS"):
        assert ask(service, asked, line).status == 401


@pytest.mark.parametrize("proxy", PROXIES)
def test_failures_are_throttled_by_the_address_of_the_client(
    ruled: Service, reader: Pair, proxy: str
) -> None:
    address = f"6.6.6.6, 198.51.100.{PROXIES.index(proxy)}, 10.0.0.1"
    wrong = {"Authorization": "Bearer sk_live_x"}
    for _ in range(3):
        answer = ask(ruled, question(proxy, target="/orders", address=address, headers=wrong))
        assert answer.status == 401
    answer = ask(ruled, question(proxy, target="/orders", address=address, headers=wrong))
    assert answer.code == "too_many_failures"
    if proxy == "nginx":
        assert (answer.status, answer.headers["x-latchkey-status"]) == (403, "429")
        assert 1 <= int(answer.headers["x-latchkey-retry-after"]) <= 86_400
    else:
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 86_400
    # A good key from that address still works, and so does a wrong one from another address.
    good = question(proxy, target="/orders", address=address, headers=reader.bearer)
    assert ask(ruled, good).status == 200
    other = f"198.51.100.{PROXIES.index(proxy)}, 203.0.113.{PROXIES.index(proxy)}, 10.0.0.1"
    assert ask(ruled, question(proxy, target="/orders", address=other, headers=wrong)).status == 401


@contextmanager
def without_database(service: Service) -> Iterator[None]:
    aside = service.database.with_name("aside")
    os.rename(service.database, aside)
    try:
        yield
    finally:
        os.rename(aside, service.database)


def test_a_failure_of_the_database_is_500(ruled: Service, reader: Pair) -> None:
    cold = ruled.issue("live", scopes=["orders:read"])
    for proxy in PROXIES:
        assert ask(ruled, question(proxy, headers=reader.bearer)).status == 200
    before = {
        proxy: ruled.metric("latchkey_verify_requests_total", proxy=proxy, outcome="failed")
        for proxy in PROXIES
    }
    with without_database(ruled):
        for proxy in PROXIES:
            answer = ask(ruled, question(proxy, headers=cold.bearer))
            assert (answer.status, answer.code) == (500, "internal_error")
            assert answer.headers["cache-control"] == "no-store"
            assert ask(ruled, question(proxy, headers=reader.bearer)).status == 200
    for proxy, count in before.items():
        labels = {"proxy": proxy, "outcome": "failed"}
        assert ruled.metric("latchkey_verify_requests_total", **labels) == count + 1
