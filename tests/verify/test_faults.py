"""The published faults of forward authentication, each with what this service does instead.

The names of the tests begin with what happened elsewhere; docs/explanation has the reasons.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder

from latchkey.assembly import Latchkey
from latchkey.box.sightings import recent_sightings
from latchkey.config import load_settings
from latchkey_service import create_app
from tests.support.service import Answer, Pair, Service
from tests.support.verify.asking import FAMILIES, IDENTITY, PROXIES, Question, question

OTHER_FAMILY = {"X-Original": "X-Forwarded", "X-Forwarded": "X-Original"}


def ask(service: Service, asked: Question, *more: str) -> Answer:
    return service.send_raw(asked.wire(*more))


def meant(answer: Answer) -> int:
    """The status, which nginx reads from a header."""
    return int(answer.headers.get("x-latchkey-status", answer.status))


def without(asked: Question, name: str) -> Question:
    kept = tuple(header for header in asked.headers if header[0].lower() != name.lower())
    assert len(kept) < len(asked.headers)
    return Question(asked.method, asked.target, kept)


def names_of(proxy: str) -> tuple[str, ...]:
    """The headers that describe the original request."""
    if proxy == "envoy":
        return ("Host",)
    return tuple(f"{FAMILIES[proxy]}-{part}" for part in ("Method", "URI", "Host"))


@pytest.fixture(scope="module")
def live(service: Service) -> Pair:
    return service.issue("live", scopes=["orders:read"])


@pytest.fixture(scope="module")
def limited(service: Service) -> Pair:
    """A key for one endpoint and one network."""
    return service.issue(
        "live",
        scopes=["orders:read"],
        endpoints=["GET /public/**", "POST /orders"],
        networks=["192.0.2.0/24"],
    )


@pytest.mark.parametrize("proxy", PROXIES)
def test_names_with_underscores_are_no_other_headers(
    service: Service, live: Pair, limited: Pair, proxy: str
) -> None:
    """CVE-2025-64484: X_Forwarded_User became the variable of X-Forwarded-User."""
    for name in names_of(proxy):
        spelled = name.replace("-", "_") if "-" in name else "HTTP_HOST"
        # Beside the right one, it changes nothing; in its place, it is nothing.
        assert ask(service, question(proxy, headers=live.bearer), f"{spelled}: /x").status == 200
        alone = without(question(proxy, headers=live.bearer), name)
        assert meant(ask(service, alone, f"{spelled}: GET")) == 400
    asked = question(proxy, target="/public/", headers=limited.bearer, address="198.51.100.1")
    assert ask(service, asked, "X_Forwarded_For: 192.0.2.1").status == 403
    asked = question(proxy, headers=live.bearer)
    answer = ask(service, asked, "X_Latchkey_Key: ak_live_forged", "X-Latchkey-Key: forged")
    assert answer.headers["x-latchkey-key"] == live.api_key
    assert ask(service, question(proxy), f"X_Api_Secret: {live.api_secret}").status == 401


@pytest.mark.parametrize("proxy", PROXIES)
def test_names_with_dots_are_no_other_headers(
    service: Service, live: Pair, limited: Pair, proxy: str
) -> None:
    """Traefik 3.7.13: X.Authenticated.User passed a fix for underscores."""
    for name in names_of(proxy):
        spelled = name.replace("-", ".") if "-" in name else "HTTP.HOST"
        assert ask(service, question(proxy, headers=live.bearer), f"{spelled}: /x").status == 200
        alone = without(question(proxy, headers=live.bearer), name)
        assert meant(ask(service, alone, f"{spelled}: GET")) == 400
    asked = question(proxy, target="/public/", headers=limited.bearer, address="198.51.100.1")
    assert ask(service, asked, "X.Forwarded.For: 192.0.2.1").status == 403


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-Prefix: /public",
        "Forwarded: for=192.0.2.1;host=api.example.com;proto=https",
        "SCRIPT_NAME: /verify",
        "Script-Name: /verify",
        "PATH_INFO: /verify/envoy/public/",
        "Path-Info: /public/",
        "X-Rewrite-Url: /public/",
        "X-Original-Url: /public/",
        "X-HTTP-Method-Override: GET",
        "X-Real-Ip: 192.0.2.1",
        "REMOTE_ADDR: 192.0.2.1",
        "Remote-Addr: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
        "Cookie: session=1",
    ],
)
def test_headers_that_are_never_read(
    service: Service, live: Pair, limited: Pair, proxy: str, line: str
) -> None:
    """CVE-2026-35051, traefik#12657, and SCRIPT_NAME, which gunicorn takes from trusted peers."""
    assert ask(service, question(proxy, headers=live.bearer), line).status == 200
    outside = question(proxy, target="/public/", headers=limited.bearer, address="198.51.100.1")
    assert ask(service, outside, line).code == "address_not_allowed"
    elsewhere = question(proxy, target="/orders", headers=limited.bearer)
    assert ask(service, elsewhere, line).code == "endpoint_not_allowed"
    assert ask(service, question(proxy), line).status == 401


@pytest.mark.parametrize("proxy", PROXIES)
def test_only_the_headers_of_the_proxy_describe_the_request(
    service: Service, live: Pair, limited: Pair, proxy: str
) -> None:
    """CVE-2026-40575: the original URI was read from whichever header was there."""
    for other in ("X-Original", "X-Forwarded"):
        if other == FAMILIES.get(proxy):
            continue
        more = (f"{other}-Method: GET", f"{other}-Uri: /public/", f"{other}-Host: a")
        elsewhere = question(proxy, target="/orders", headers=limited.bearer)
        assert ask(service, elsewhere, *more).code == "endpoint_not_allowed"
        for name in names_of(proxy):
            alone = without(question(proxy, headers=live.bearer), name)
            assert meant(ask(service, alone, *more)) == 400


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_header_that_is_missing_or_repeated_is_refused(
    service: Service, live: Pair, proxy: str
) -> None:
    """The same: repeated ones are counted before the server joins them by commas."""
    asked = question(proxy, headers=live.bearer)
    values = {name.lower(): value for name, value in asked.headers}
    for name in names_of(proxy):
        refused = [
            ask(service, without(asked, name)),
            ask(service, without(asked, name), f"{name}:"),
            ask(service, asked, f"{name}: {values[name.lower()]}"),
            ask(service, asked, f"{name}:"),
            ask(service, asked, f"{name.upper()}: /x"),
        ]
        assert [meant(answer) for answer in refused] == [400] * 5, name
        if name != "Host":
            assert name.lower() in refused[0].json["error"]["message"].lower()


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_comma_is_no_repetition(service: Service, live: Pair, proxy: str) -> None:
    for target in ("/orders/1,2", "/orders?fields=a,b,/c"):
        asked = question(proxy, target=target, headers=live.bearer)
        assert ask(service, asked).status == 200


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_answer_has_all_identity_headers(service: Service, live: Pair, proxy: str) -> None:
    """GHSA-7r4p-vjf4-gxv4: a header of the client stayed where the answer lacked it."""
    answer = ask(service, question(proxy, headers=live.bearer))
    assert set(IDENTITY) <= set(answer.headers)
    assert answer.headers["x-latchkey-external-id"] == ""
    assert answer.headers["x-latchkey-metadata"] == ""


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "target",
    [
        *("/public//x", "/public/../orders", "/public/%2e%2e/orders", "/public/..%2forders"),
        *("/public/%2E./orders", "/public/..;/orders", "/public/a;b", "/public/%5c..%5corders"),
        *("/public\\..\\orders", "/public/%252e%252e/orders", "/public/%00", "/public/%0d%0a"),
        *(
            "/public/#/../orders",
            "/public/%c0%ae%c0%ae/",
            "/public/%zz",
            "//public/x",
            "/./public/",
        ),
    ],
)
def test_paths_that_are_read_in_different_ways_are_refused(
    service: Service, live: Pair, limited: Pair, proxy: str, target: str
) -> None:
    """CVE-2019-9901, CVE-2021-29492: one program decided on a cleaned path."""
    answer = ask(service, question(proxy, target=target, headers=limited.bearer))
    assert (meant(answer), answer.code) == (400, "invalid_request")
    # No decision depends on the path for a key without endpoints.
    assert ask(service, question(proxy, target=target, headers=live.bearer)).status == 200


@pytest.mark.parametrize("proxy", PROXIES)
def test_conditions_apply_to_the_original_request(
    service: Service, limited: Pair, proxy: str
) -> None:
    for method, target, address, code in (
        ("GET", "/public/%61?x", "192.0.2.255", None),
        ("HEAD", "/public", "198.51.100.1, 192.0.2.1", None),
        ("POST", "/orders", "192.0.2.1:443", None),
        ("GET", "/orders", "192.0.2.1", "endpoint_not_allowed"),
        ("GET", "/public/", "192.0.2.1, 198.51.100.1", "address_not_allowed"),
        ("GET", "/public/", None, "address_not_allowed"),
        ("GET", "/public/", "unknown", "address_not_allowed"),
        ("GET", "/public/", "192.0.2.1,", "address_not_allowed"),
        ("GET", "/public//", "198.51.100.1", "address_not_allowed"),
    ):
        # Twice: first without the caches, then with them.
        for _ in range(2):
            asked = question(
                proxy, method=method, target=target, address=address, headers=limited.bearer
            )
            answer = ask(service, asked)
            if code is None:
                assert answer.status == 200, (method, target, address)
            else:
                assert (answer.status, answer.code) == (403, code), (method, target, address)


def test_haproxy_and_others_may_add_a_second_list_of_addresses(
    service: Service, limited: Pair
) -> None:
    """The last entry is that of the proxy, in whichever line it is."""
    for proxy in PROXIES:
        asked = question(proxy, target="/public/", headers=limited.bearer, address="192.0.2.1")
        assert ask(service, asked).status == 200
        assert ask(service, asked, "X-Forwarded-For: 198.51.100.1").status == 403


@pytest.mark.parametrize("line", ["X-Name: a\x01b", "X-Name : b", "Host: other", "Expect: soon"])
def test_nginx_learns_why_a_request_could_not_be_parsed(
    service: Service, live: Pair, line: str
) -> None:
    """nginx#941: other statuses than 401 and 403 became 500."""
    answer = ask(service, question("nginx", headers=live.bearer), line)
    assert meant(answer) == (417 if line.startswith("Expect") else 400)
    assert answer.status == (417 if line.startswith("Expect") else 403)
    assert json.loads(answer.headers["x-latchkey-error"]) == answer.json
    assert ask(service, question("caddy", headers=live.bearer), line).status == meant(answer)


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_upgrade_is_ignored(service: Service, live: Pair, proxy: str) -> None:
    """caddy#5430: upgrade headers reached the authentication service."""
    for more in (
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        ("Connection: keep-alive, Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ):
        answer = ask(service, question(proxy, headers=live.bearer), *more)
        assert (answer.status, answer.body) == (200, b"")
        assert "upgrade" not in answer.headers
        assert ask(service, question(proxy), *more).status == 401


@pytest.mark.parametrize("proxy", PROXIES)
def test_no_answer_may_be_stored(service: Service, live: Pair, limited: Pair, proxy: str) -> None:
    """boxlite#1418: the proxy cached the answer, and a deleted key kept working."""
    refused = question(proxy, target="/orders", headers=limited.bearer)
    for asked in (question(proxy, headers=live.bearer), question(proxy), refused):
        answer = ask(service, asked)
        assert answer.headers["cache-control"] == "no-store"
        assert not {"etag", "last-modified", "expires", "set-cookie"} & set(answer.headers)


def test_a_connection_is_kept_alive(service: Service, live: Pair) -> None:
    asked = question("nginx", headers=live.bearer)
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        for more in ((), ("Content-Length: 0",), ()):
            connection.sendall(asked.wire(*more))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.getheader("connection") != "close"


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_use_counts_once(service: Service, proxy: str) -> None:
    key = service.issue("live")
    for _ in range(3):
        assert ask(service, question(proxy, headers=key.bearer)).status == 200
    assert service.usage(key)["requests"] == 3


def test_the_last_address_is_that_of_the_client(service: Service) -> None:
    app = create_app(load_settings(service.settings), migrate=False)
    latchkey: Latchkey = app.extensions["latchkey"]
    for address, shown in (("6.6.6.6, 192.0.2.77", "192.0.2.77"), (None, "unknown")):
        key = service.issue("live")
        asked = question("nginx", headers=key.bearer, address=address)
        builder = EnvironBuilder(path=asked.target, headers=list(asked.headers))
        status, _ = call(app.wsgi_app, {**builder.get_environ(), "REMOTE_ADDR": "10.0.0.1"})
        assert status == "200 OK"
        stored = latchkey.store.find(key.api_key)
        assert stored is not None
        seen = recent_sightings(latchkey.shared.sightings, stored.id, 0)
        assert [one.address for one in seen] == [shown]
    latchkey.store.close()


def call(app: Any, environ: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The status and the headers of a WSGI application's answer."""
    started: list[tuple[str, dict[str, str]]] = []
    app(environ, lambda status, headers: started.append((status, dict(headers))))
    return started[0]
