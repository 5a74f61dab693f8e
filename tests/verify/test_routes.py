"""The routes of proxies over real HTTP: who may pass, and what each proxy is told."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from tests.support.service import Answer, Pair, Service
from tests.support.verify.asking import IDENTITY, PROXIES, Question, question

WITH_QUERY = tuple(proxy for proxy in PROXIES if proxy != "envoy")


def ask(service: Service, asked: Question, *more: str) -> Answer:
    return service.send_raw(asked.wire(*more))


@pytest.fixture(scope="module")
def live(service: Service) -> Pair:
    return service.issue("live", scopes=["orders:read", "account:read"])


@pytest.fixture(scope="module")
def trial(service: Service) -> Pair:
    return service.issue("test", scopes=["orders:read"])


def identity(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[name] for name in IDENTITY}


NOBODY = dict.fromkeys(IDENTITY, "")


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_valid_key_passes(service: Service, live: Pair, proxy: str, method: str) -> None:
    for presented in (live.bearer, live.headers):
        answer = ask(service, question(proxy, method=method, headers=presented))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == "0"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        account = service.get("/v1/account", live.bearer).json
        assert identity(answer) == {
            **NOBODY,
            "x-latchkey-key": live.api_key,
            "x-latchkey-account": account["id"],
            "x-latchkey-mode": "live",
            "x-latchkey-scopes": "account:read orders:read",
        }


@pytest.mark.parametrize("proxy", PROXIES)
def test_without_a_credential_there_is_only_401(service: Service, proxy: str) -> None:
    for asked in (
        question(proxy),
        question(proxy, target="*"),
        question(proxy, host=""),
        Question("GET", f"/verify/{proxy}/", (("Host", "latchkey"),)),
        Question("GET", f"/verify/{proxy}?preflight=pass&surprise=1", (("Host", "latchkey"),)),
        Question("BREW", f"/verify/{proxy}", (("Host", "latchkey"),)),
    ):
        answer = ask(service, asked)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), asked
        assert not set(IDENTITY) & set(answer.headers)


def test_other_paths_are_those_of_the_service(service: Service, live: Pair) -> None:
    for path in ("/verify", "/verify/", "/verify/apache", "/verify/nginx/", "/verify/envoyx"):
        assert service.get(path).status == 401
        assert service.get(path, live.bearer).status == 404, path


@pytest.mark.parametrize("proxy", PROXIES)
def test_refused_credentials(service: Service, live: Pair, proxy: str) -> None:
    revoked = service.issue("live")
    assert ask(service, question(proxy, headers=revoked.bearer)).status == 200
    issuer = service.issue("live")
    assert service.request("DELETE", f"/credentials/{revoked.api_key}", issuer.bearer).status == 200
    answer = ask(service, question(proxy, headers=revoked.bearer))
    assert (answer.status, answer.code) == (401, "key_revoked")
    assert "error=" in answer.headers["www-authenticate"]
    answer = ask(service, question(proxy, headers={"Authorization": "Bearer sk_live_x"}))
    assert (answer.status, answer.code) == (401, "invalid_api_key")


@pytest.mark.parametrize("proxy", WITH_QUERY)
def test_needs_of_the_url(service: Service, live: Pair, trial: Pair, proxy: str) -> None:
    for query, key, status in (
        ("scope=orders:read", live, 200),
        ("scope=orders:read&scope=account:read", live, 200),
        ("scope=orders:read&scope=orders:write", live, 403),
        ("scope_any=orders:write&scope_any=orders:read", live, 200),
        ("scope_any=orders:write&scope_any=other:read", live, 403),
        ("scope=account:read&scope_any=orders:write", live, 403),
        ("mode=live", live, 200),
        ("mode=test", live, 403),
        ("", trial, 403),
        ("mode=test&scope=orders:read&cost=3", trial, 200),
        ("cost=1000000", live, 200),
        ("preflight=pass", live, 200),
    ):
        answer = ask(service, question(proxy, query=query, headers=key.bearer))
        assert answer.status == status, (query, answer)
    answer = ask(service, question(proxy, query="scope=orders:write", headers=live.bearer))
    assert answer.code == "insufficient_scope"
    assert 'scope="orders:write"' in answer.headers["www-authenticate"]
    answer = ask(service, question(proxy, query="mode=test", headers=live.bearer))
    assert answer.code == "mode_not_allowed"


@pytest.mark.parametrize("proxy", WITH_QUERY)
@pytest.mark.parametrize(
    ("query", "named"),
    [
        *[("colour=red", "colour"), ("scope=orders:read&Scope=x:y", "Scope"), ("mode=", "mode")],
        *[("cost=0", "cost"), ("cost=1000001", "cost"), ("cost=1.5", "cost"), ("cost=", "cost")],
        *[("preflight=yes", "preflight"), ("scope=orders", "scope"), ("scope=", "scope")],
        *[("mode=live&mode=live", "mode"), ("scope_any=*:write", "scope_any"), ("&", '""')],
    ],
)
def test_an_invalid_url_is_400(
    service: Service, live: Pair, proxy: str, query: str, named: str
) -> None:
    answer = ask(service, question(proxy, query=query, headers=live.bearer))
    if proxy == "nginx":
        assert (answer.status, answer.headers["x-latchkey-status"]) == (403, "400")
        assert json.loads(answer.headers["x-latchkey-error"]) == answer.json
    else:
        assert answer.status == 400
    assert answer.code == "invalid_field"
    assert answer.json["error"]["message"].startswith(f"{named}: ")


def test_a_secret_in_the_url_is_not_sent_back(service: Service, live: Pair) -> None:
    for query in (
        f"{live.api_secret}=1",
        f"scope=a:read&{live.api_secret}",
        f"mode={live.api_secret}",
    ):
        answer = ask(service, question("caddy", query=query, headers=live.bearer))
        assert answer.status == 400
        assert live.api_secret not in repr(answer.json)
        place = "mode" if query.startswith("mode") else "a parameter of the verify URL"
        assert answer.json["error"]["message"].startswith(f"{place}: ")


def test_envoy_reads_no_query(service: Service, live: Pair) -> None:
    for query in ("scope=orders:write", "mode=test", "preflight=pass", "cost=0", "x=y"):
        asked = question("envoy", target=f"/orders?{query}", headers=live.bearer)
        assert ask(service, asked).status == 200
        assert ask(service, question("envoy", target=f"/orders?{query}")).status == 401


def test_caddy_refuses_the_query_of_the_client(service: Service, live: Pair) -> None:
    for query in ("mode=live", "preflight=pass", "scope=orders:read&cost=2", "scope=orders%3Aread"):
        asked = question("caddy", target=f"/orders?{query}", query=query, headers=live.bearer)
        answer = ask(service, asked)
        assert (answer.status, answer.code) == (400, "invalid_request"), query
    asked = question("caddy", target="/orders?mode=test", query="mode=live", headers=live.bearer)
    assert ask(service, asked).status == 200
    assert ask(service, question("caddy", target="/orders?", headers=live.bearer)).status == 200


def test_metadata_of_the_account(service: Service) -> None:
    metadata = {"plan": "größer", "n": [1, None]}
    operator = service.create_key("live", "--scope", "*", "--scope", "accounts:write")
    account = service.request(
        "POST",
        "/v1/accounts",
        operator.bearer,
        json_body={"name": "Ünïcode", "external_id": "cus_42;'\"", "metadata": metadata},
    ).json
    made = service.request(
        "POST",
        "/v1/api_keys",
        operator.bearer,
        json_body={"name": "näme", "account": account["id"], "scopes": ["orders:read:eu-*"]},
    ).json
    asked = question("nginx", headers={"Authorization": f"Bearer {made['api_secret']}"})
    found = identity(ask(service, asked))
    assert json.loads(base64.urlsafe_b64decode(found.pop("x-latchkey-metadata"))) == metadata
    assert found == {
        "x-latchkey-key": made["api_key"],
        "x-latchkey-account": account["id"],
        "x-latchkey-external-id": "cus_42;'\"",
        "x-latchkey-mode": "live",
        "x-latchkey-scopes": "orders:read:eu-*",
    }


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "announced", ["Content-Length: 10", "Transfer-Encoding: chunked", "Content-Length: 1000000"]
)
def test_an_announced_body_is_not_awaited(
    service: Service, live: Pair, proxy: str, announced: str
) -> None:
    asked = question(proxy, headers=live.bearer).wire(announced)
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(asked)
        received = b""
        while part := connection.recv(65536):
            received += part
    # The bytes that follow could be a body or a request, so the connection is closed.
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in received
