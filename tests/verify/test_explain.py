"""``latchkey verify explain`` says what a running service answers, and counts nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api.accounts import limited_key, manager
from tests.support.command_line import fails
from tests.support.faults.service_processes import wait_until
from tests.support.latchkey_command import run_here
from tests.support.service import Service
from tests.support.verify.asking import question

RULES = """\
[[rule]]
host = "api.example.com"
method = ["GET", "POST"]
path = "/orders/**"
scopes = ["orders:read"]

[[rule]]
host = "api.example.com"
path = "/tests/*"
mode = "test"

[[rule]]
path = "/open/**"
open = true
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("ruled")
    (directory / "routes.toml").write_text(RULES)
    with Service(directory, LATCHKEY_VERIFY_ROUTES="routes.toml", LATCHKEY_WORKERS="1") as running:
        yield running


def explained(service: Service, *arguments: str) -> dict[str, Any]:
    run = run_here(service, "verify", "explain", *arguments, "--json")
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_it_says_what_the_service_answers(ruled: Service) -> None:
    keys = {
        "reader": ruled.issue("live", scopes=["orders:read"]),
        "other": ruled.issue("live", scopes=["invoices:read"]),
        "near": ruled.issue("live", scopes=["*"], networks=["192.0.2.0/24"]),
        "limited": ruled.issue("live", scopes=["*"], endpoints=["GET /orders/1"]),
        "disabled": ruled.issue("live", enabled=False),
        "early": ruled.issue("live", not_before="2999-01-01T00:00:00Z"),
        "revoked": ruled.issue("live"),
        "test": ruled.issue("test", scopes=["*"]),
    }
    ruled.request("DELETE", f"/v1/api_keys/{keys['revoked'].api_key}", keys["revoked"].bearer)
    asked: list[tuple[str, str, str, str]] = [
        (name, "/orders/1", "nginx", "192.0.2.7") for name in ("nobody", *keys)
    ]
    asked += [
        ("near", "/orders/1", "nginx", "198.51.100.7"),
        ("nobody", "/open/x", "caddy", "192.0.2.7"),
        ("revoked", "/open/x", "envoy", "192.0.2.7"),
        *(("test", f"/{target}", "nginx", "192.0.2.7") for target in ("tests/1", "else")),
        *(("reader", f"/orders/{target}", "nginx", "192.0.2.7") for target in ("..", "%31")),
        ("reader", "/orders//x", "envoy", "192.0.2.7"),
        ("reader", "/else", "envoy", "192.0.2.7"),
    ]
    told = set()
    for name, target, proxy, address in asked:
        pair = keys.get(name)
        headers = {} if pair is None else pair.bearer
        sent = question(proxy, target=target, address=address, headers=headers)
        answer = ruled.send_raw(sent.wire())
        found = explained(
            ruled,
            *("GET", f"https://api.example.com{target}"),
            *("--proxy", proxy, "--address", address),
            *(() if pair is None else ("--key", pair.api_key)),
        )
        what = (name, target, proxy, address, found)
        assert answer.status == found["answer_to_proxy"], what
        real = answer.headers.get("x-latchkey-status", str(answer.status))
        assert real == str(found["status"]), what
        if answer.status != 200:
            assert answer.code.upper() in (found["code"], "UNAUTHORIZED"), what
        told.add(found["code"])
    assert told == {
        *("MISSING_API_KEY", "INSUFFICIENT_SCOPE", "ENDPOINT_NOT_ALLOWED", "KEY_DISABLED"),
        *("ADDRESS_NOT_ALLOWED", "KEY_NOT_YET_VALID", "KEY_REVOKED", "INVALID_REQUEST"),
        *("MODE_NOT_ALLOWED", "OPEN", "VALID"),
    }


@pytest.mark.parametrize("proxy", ["envoy", "nginx", "caddy"])
def test_requests_that_the_server_cannot_parse(ruled: Service, proxy: str) -> None:
    """Envoy sends the client's method and target as its own; others send both as values."""
    told = set()
    for method, target in (
        ("get", "/open/x"),
        ("GET", "/open/é"),
        ("GET", "/open/a b"),
        ("GET", "/open/{x}"),
        ("GET", f"/open/{'a' * 9000}"),
        ("M" * 30, "/open/x"),
        ("GET", "/open/x"),
    ):
        sent = question(proxy, method=method, target=target.encode().decode("latin-1"))
        answer = ruled.send_raw(sent.wire())
        arguments = ("--host", "api.example.com", "--proxy", proxy)
        found = explained(ruled, method, target, *arguments, "--address", "192.0.2.7")
        assert answer.status == found["answer_to_proxy"], (method, target[:20], found)
        told.add(found["answer_to_proxy"])
    assert told > {200}


def test_parameters_of_the_verify_url(ruled: Service) -> None:
    key, trial = ruled.issue("live", scopes=["orders:read"]), ruled.issue("test", scopes=["*"])
    told = set()
    for target, needs, pair in (
        ("/orders/1", "scope=orders:read", key),
        ("/orders/1", "scope=orders:write", key),
        ("/orders/1", "mode=test", key),
        ("/orders/1", "mode=test", trial),
        ("/tests/1", "mode=live", trial),
        ("/tests/1", "mode=live", key),
        ("/orders/1", "mode=other", key),
        ("/open/x", "scope=orders:read", None),
    ):
        headers = {} if pair is None else pair.bearer
        sent = question("caddy", target=target, query=needs, headers=headers)
        answer = ruled.send_raw(sent.wire())
        found = explained(
            ruled,
            *("GET", target, "--host", "api.example.com", "--proxy", "caddy", "--needs", needs),
            *(() if pair is None else ("--key", pair.api_key)),
        )
        assert answer.status == found["status"], (target, needs, found)
        if answer.status != 200:
            assert answer.json["error"]["message"] == found["reason"] or pair is None
        told.add(found["code"])
    assert told == {
        *("VALID", "INSUFFICIENT_SCOPE", "MODE_NOT_ALLOWED", "INVALID_FIELD", "MISSING_API_KEY"),
    }


def test_contradictory_modes_are_named(ruled: Service) -> None:
    """No key can be accepted: callers and the log learn of both, the log once."""
    keys = (ruled.issue("live", scopes=["*"]), ruled.issue("test", scopes=["*"]))
    for pair in (*keys, *keys):
        sent = question("traefik", target="/tests/9", query="mode=live", headers=pair.bearer)
        answer = ruled.send_raw(sent.wire())
        assert (answer.status, answer.code) == (403, "mode_not_allowed")
        assert answer.json["error"]["message"] == (
            "No API key is accepted here: the verify URL needs a live key, and the rule of the "
            "routes file needs a test key"
        )
    logged = (
        "no key is accepted: the verify URL of traefik needs live keys, and line 7 of the routes "
        "file needs test keys"
    )
    wait_until(lambda: logged in ruled.log, "the warning")
    assert ruled.log.count(logged) == 1


def test_the_rule_and_its_place(ruled: Service) -> None:
    found = explained(ruled, "POST", "/orders/1?x=1", "--host", "API.example.com:8443")
    assert found["request"] == "POST api.example.com/orders/1"
    assert found["rule"] == "GET, POST api.example.com/orders/**"
    assert found["place"] == f"{ruled.directory}/routes.toml:1"
    assert found["needs"] == "a key with the scope orders:read"
    assert explained(ruled, "GET", "/open/x")["code"] == "OPEN"
    none = explained(ruled, "GET", "/else")
    assert (none["rule"], none["place"]) == ("none matches", None)
    printed = run_here(ruled, "verify", "explain", "GET", "/open/x").stdout
    assert "needs            no key\n" in printed


def test_nothing_is_counted_or_changed(ruled: Service) -> None:
    pair = ruled.issue("live", scopes=["invoices:read"])
    before = ruled.database.read_bytes()
    explained(ruled, "GET", "https://api.example.com/orders/1", "--key", pair.api_key)
    usage = ruled.usage(pair)
    assert usage["requests"] == 0
    assert sum(usage["refusals"].values()) == 0
    assert len(before) == len(ruled.database.read_bytes())


def test_usage_errors(ruled: Service) -> None:
    secret = f"sk_live_{'a' * 71}"
    for arguments in (
        ("GET", "ftp://a.example/x"),
        ("GET", "/x", "--address", "here"),
        ("GET", "/x", "--host", "a b"),
        ("GET /x", "/x"),
        ("GET", "/x", "--proxy", "apache"),
        ("GET", "/x", "--proxy", "envoy", "--needs", "mode=live"),
        ("GET", "/x", "--needs", "mode=live x"),
    ):
        fails(ruled, "verify", "explain", *arguments, status=2)
    said = fails(ruled, "verify", "explain", "GET", "/x", "--key", secret)
    assert secret not in said


def test_limits_are_shown_and_nothing_is_taken(ruled: Service) -> None:
    daily, total = {"name": "daily", "rate": "3/day"}, {"quota": 9, "period": "total"}
    key = limited_key(ruled, manager(ruled), daily, total)
    arguments = ("GET", "https://api.example.com/orders/1", "--key", key.api_key)
    asked = question("traefik", target="/orders/1", headers=key.bearer).wire()
    for left in (2, 1):
        assert ruled.send_raw(asked).status == 200
        for _ in range(2):
            found = explained(ruled, *arguments, "--needs", "cost=1")
            assert (found["status"], found["cost"]) == (200, 1)
            assert [(one["name"], one["remaining"]) for one in found["limits"]] == [
                ("daily", left),
                ("default", left + 6),
            ]
    found = explained(ruled, *arguments, "--needs", "cost=2")
    assert (found["status"], found["code"], found["answer_to_proxy"]) == (429, "RATE_LIMITED", 403)
    assert ruled.send_raw(asked).status == 200
    assert ruled.send_raw(asked).status == 429
    assert explained(ruled, *arguments)["code"] == "RATE_LIMITED"
    shown = run_here(ruled, "verify", "explain", *arguments)
    assert "daily, 3/day: 0 left; default, 9/total: 6 left" in shown.stdout
    # No limit is applied to a request that is refused before.
    found = explained(ruled, "GET", "https://api.example.com/else", "--key", key.api_key)
    assert (found["code"], found["cost"], found["limits"]) == ("ENDPOINT_NOT_ALLOWED", None, [])
