"""Requests that no honest client sends: each is refused in the envelope, and nothing opens.

Most go out as bytes, since an HTTP library would correct or refuse them itself.
"""

from __future__ import annotations

import http.client
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.contract import (
    HEADERS_TOO_LARGE,
    INVALID,
    INVALID_FIELD,
    INVALID_REQUEST,
    MAX_BODY,
    MISSING,
    NOT_FOUND,
    PAYLOAD_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    chunked,
    derived,
    encode,
    lines,
    nested,
    wire,
)
from tests.service import Answer, Pair, Service

CREATE = "POST /v1/api_keys"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def create(service: Service, key: Pair, *headers: str, body: bytes = b"") -> Answer:
    """Send raw bytes to the route that makes a key."""
    return service.send_raw(wire(CREATE, *lines(key.bearer), *headers, body=body))


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


# Bodies: their length.


@pytest.mark.parametrize("size", [MAX_BODY + 1, 1_000_000])
def test_announced_body_over_the_limit(service: Service, live: Pair, size: int) -> None:
    body = b"x" * size
    PAYLOAD_TOO_LARGE.check(create(service, live, JSON, length(body), body=body), "bearer")


def test_body_over_the_limit_that_is_announced_and_never_sent(service: Service, live: Pair) -> None:
    PAYLOAD_TOO_LARGE.check(create(service, live, JSON, "Content-Length: 999999999999"), "bearer")


def test_body_at_the_limit(service: Service, live: Pair) -> None:
    body = encode({"name": "x"}).ljust(MAX_BODY)
    assert create(service, live, JSON, length(body), body=body).status == 201
    assert create(service, live, JSON, CHUNKED, body=chunked(body)).status == 201


def test_chunked_body_over_the_limit(service: Service, live: Pair) -> None:
    padded = encode({"name": "x"}).ljust(MAX_BODY + 1)
    for body in (chunked(padded), chunked(*[b" " * 100] * 200), chunked(b"x" * 300_000)):
        PAYLOAD_TOO_LARGE.check(create(service, live, JSON, CHUNKED, body=body), "bearer")
        answer = service.send_raw(wire("POST /credentials", JSON, CHUNKED, body=body))
        PAYLOAD_TOO_LARGE.check(answer, "pair")


def test_body_that_ends_before_its_announced_length(service: Service, live: Pair) -> None:
    """Also where what did arrive would make sense by itself."""
    for body in (b'{"name":', b'{"name":"x"}', b""):
        answer = create(service, live, JSON, f"Content-Length: {len(body) + 10}", body=body)
        INVALID_REQUEST.check(answer, "bearer", bearer=True)


def test_chunked_body_that_ends_before_its_last_chunk(service: Service, live: Pair) -> None:
    for body in (b'c\r\n{"name":"x"}\r\n', b'c\r\n{"name":"x"}\r\n0\r\n', b'40\r\n{"name":"x"}'):
        answer = create(service, live, JSON, CHUNKED, body=body)
        INVALID_REQUEST.check(answer, "bearer", bearer=True)


def test_body_that_goes_on_after_its_announced_length(service: Service, live: Pair) -> None:
    """What is left over is the next request, and gets its own answer."""
    body = encode({"name": "x"})
    first = wire(CREATE, *lines(live.bearer), JSON, length(body), body=body + b"GET /nowhere HTTP/")
    second = b"1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(first + second)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 401 " in received


# Bodies: what they say.


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"x","name":"x"}',
        b'{"name":"x","expires_at":NaN}',
        b'{"name":"x","expires_at":Infinity}',
        b'{"name":"x","expires_at":-Infinity}',
        b'{"name":"x",}',
        b'{"name":"x"}\x00',
        b'\xef\xbb\xbf{"name":"x"}',
        b'{"name":"\xff"}',
        b'{"name":"\xed\xa0\x80"}',
        '{"name":"x"}'.encode("utf-16"),
        b'{"name":' + b"9" * 5_000 + b"}",
        nested(8_000),
        nested(40),
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    ],
    ids=[
        "repeated",
        "nan",
        "infinity",
        "minus-infinity",
        "trailing-comma",
        "nul",
        "bom",
        "not-utf8",
        "encoded-surrogate",
        "utf16",
        "huge-integer",
        "deep-arrays",
        "rather-deep-arrays",
        "deep-objects",
    ],
)
def test_body_that_is_no_strict_json(service: Service, live: Pair, body: bytes) -> None:
    answer = create(service, live, JSON, length(body), body=body)
    INVALID_REQUEST.check(answer, "bearer", bearer=True)
    answer = service.send_raw(wire("POST /credentials", JSON, length(body), body=body))
    INVALID_REQUEST.check(answer, "pair")


def values(field: str, *wrong: object) -> list[tuple[str, object]]:
    return [(field, value) for value in wrong]


WRONG_FIELDS = [
    *values("name", None, 1, True, 1.5, [], {}, "", " ", " x", "x ", "x" * 101),
    *values("name", "a\x00b", "a\nb", "\x7f", "\ud800", "x\udfff"),
    *values("name", "a\x9b31mred", "a\u202eb", "a\u2028b", "\u2066"),
    *values("mode", None, 1, True, "", "LIVE", "prod", ["live"], "live\x00"),
    *values("scopes", None, "", "*", 1, True, {}, [], [None], [1], [[]], [""]),
    *values("scopes", ["admin"], ["*:write"], ["*", "x:read"], ["\ud800"]),
    *values("expires_at", 0, 1893456000, 1e300, 10**400, True, "", "now", [], {}),
    *values("expires_at", "2035-01-01", "2035-01-01 00:00:00Z", "2035-01-01T00:00:00"),
    *values("expires_at", "2035-13-01T00:00:00Z", "2035-02-30T00:00:00Z", "2035-01-01T24:30:00Z"),
    *values("expires_at", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    *values("expires_at", "2035-01-01T00:00:00+99:99", "٢٠٣٥-01-01T00:00:00Z", "\ud800"),
    *values("expires_at", "2020-01-01T00:00:00Z"),
]
WRONG_TOKENS: tuple[object, ...] = (
    None,
    1,
    True,
    [],
    {},
    "",
    "x",
    "ak_live_" + "z" * 22,
    "\ud800",
    "é" * 30,
)


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS)
def test_wrong_value_of_a_field(service: Service, live: Pair, field: str, value: object) -> None:
    answer = service.request(
        "POST", "/v1/api_keys", live.bearer, json_body={"name": "x", field: value}
    )
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert answer.json["error"]["message"].startswith(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *values("api_key", *WRONG_TOKENS),
        *values("api_secret", *WRONG_TOKENS),
        *values("name", 1, "", " ", [], "a\x00", "\ud800", "x" * 101),
    ],
)
def test_wrong_value_of_a_field_of_a_registration(
    service: Service, field: str, value: object
) -> None:
    body = {**vars(derived(service)), field: value}
    answer = service.request("POST", "/credentials", json_body=body)
    INVALID_FIELD.check(answer, "pair")
    assert answer.json["error"]["message"].startswith(field)


def test_missing_fields(service: Service, live: Pair) -> None:
    answer = service.request("POST", "/v1/api_keys", live.bearer, json_body={})
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert "name" in answer.json["error"]["message"]
    for field in ("api_key", "api_secret"):
        body = {name: value for name, value in vars(derived(service)).items() if name != field}
        answer = service.request("POST", "/credentials", json_body=body)
        INVALID_FIELD.check(answer, "pair")
        assert field in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "name", ["extra", "Name", "api_secret", "", "\ud800", "a" * 5_000, "__proto__", "é", "\x00"]
)
def test_unknown_field(service: Service, live: Pair, name: str) -> None:
    answer = service.request(
        "POST", "/v1/api_keys", live.bearer, json_body={"name": "x", name: "y"}
    )
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert len(answer.body) < 300
    if name == "api_secret":
        return  # which is a field of a registration
    body = {**vars(derived(service)), name: "y"}
    INVALID_FIELD.check(service.request("POST", "/credentials", json_body=body), "pair")


def test_unknown_query(service: Service, live: Pair) -> None:
    for query in ("x=1", "limit=1&x=1", "%ff=1", "cursor=%ff", "limit=%00"):
        answer = service.get(f"/v1/api_keys?{query}", live.bearer)
        INVALID_FIELD.check(answer, "bearer", bearer=True)


@pytest.mark.parametrize(
    "limit",
    ["0", "101", "-1", "1.0", "1.5", "x", "", "1e1", "9" * 300, "0x10", "%D9%A1", "1_0", "+"],
)
def test_wrong_limit(service: Service, live: Pair, limit: str) -> None:
    answer = service.get(f"/credentials?limit={limit}", live.headers)
    INVALID_FIELD.check(answer, "pair")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "json",
        "text/json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "multipart/form-data; boundary=x",
        "\xff",
        "x" * 4_000,
    ],
)
def test_content_type_that_is_not_json(service: Service, live: Pair, content_type: str) -> None:
    body = encode({"name": "x"})
    answer = create(service, live, f"Content-Type: {content_type}", length(body), body=body)
    UNSUPPORTED_MEDIA_TYPE.check(answer, "bearer")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'],
)
def test_content_type_that_is_json(service: Service, live: Pair, content_type: str) -> None:
    body = encode({"name": "Ärger 🔑"})
    answer = create(service, live, f"Content-Type: {content_type}", length(body), body=body)
    assert (answer.status, answer.json["name"]) == (201, "Ärger 🔑")


# Credentials.


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Api-Secret"])
def test_credential_header_sent_twice(service: Service, live: Pair, name: str) -> None:
    """On the wire as two lines, and as one line that a proxy made of two: the same good value."""
    headers = live.bearer if name == "Authorization" else live.headers
    bearer = name == "Authorization"
    for path in ("/v1/account", "/credentials"):
        twice = service.send_raw(wire(f"GET {path}", *lines(headers), f"{name}: {headers[name]}"))
        joined = {**headers, name: f"{headers[name]}, {headers[name]}"}
        for answer in (twice, service.get(path, joined)):
            INVALID_REQUEST.check(answer, "bearer" if bearer else "pair", bearer=bearer)


@pytest.mark.parametrize("name", ["X-Api-Key", "X-Api-Secret"])
def test_lone_half_with_a_comma(service: Service, live: Pair, name: str) -> None:
    INVALID_REQUEST.check(service.get("/v1/account", {name: f"{live.headers[name]},"}), "pair")
    INVALID_REQUEST.check(service.get("/v1/account", {name: ","}), "pair")


def test_second_bearer_behind_another_scheme(service: Service, live: Pair) -> None:
    """The first scheme decides what is presented: no bearer, so no word about one."""
    for value in (f"Basic x,{live.bearer['Authorization']}", "Basic x, BEARER y"):
        INVALID_REQUEST.check(service.get("/v1/account", {"Authorization": value}), "bearer")
        INVALID_REQUEST.check(service.get("/credentials", {"Authorization": value}), "pair")
    twice = wire("GET /v1/account", "Authorization: Basic x", *lines(live.bearer))
    INVALID_REQUEST.check(service.send_raw(twice), "bearer")


@pytest.mark.parametrize(
    "value",
    [
        "Basic dXNlcjpwYXNz",
        'Digest username="Mufasa", realm="testrealm", nonce="dcd98b", uri="/", response="6629"',
        'Digest a="x",b="Bearer, y"',
        "Negotiate abc==",
        "Bearer",
        "Bearer ",
        "Bearer     ",
        "bearer",
        ",",
        "Basic x,",
        "\xff\xfe",
        "Bearerx y",
    ],
)
def test_authorization_that_presents_nothing(service: Service, live: Pair, value: str) -> None:
    raw = wire("GET /v1/account", f"Authorization: {value}")
    MISSING.check(service.send_raw(raw), "bearer")
    # It is no credential, so a pair beside it is the only one.
    with_pair = wire("GET /v1/account", f"Authorization: {value}", *lines(live.headers))
    assert service.send_raw(with_pair).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_in_any_case(service: Service, live: Pair, scheme: str) -> None:
    answer = service.get("/v1/account", {"Authorization": f"{scheme} {live.api_secret}"})
    assert answer.status == 200
    padded = {"Authorization": f"{scheme}   {live.api_secret}  "}
    assert service.get("/v1/account", padded).status == 200


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "sk_live_",
        "sk_live_" + "0" * 71,
        "sk_live_" + "z" * 71,
        "sk_test_" + "\xe9" * 71,
        "\xff",
        "sk_live_" + "0" * 8_000,
        "sk_live_ " + "0" * 70,
        "Bearer x",
        "%s",
        "' OR 1=1 --",
        "../../etc/passwd",
    ],
)
def test_bearer_that_is_malformed(service: Service, token: str) -> None:
    raw = wire("GET /v1/account", f"Authorization: Bearer {token}")
    INVALID.check(service.send_raw(raw), "bearer", bearer=True)


def test_secret_that_differs_in_one_place(service: Service, live: Pair) -> None:
    """Each part of it matters: mode, id, mac and checksum."""
    for place in (3, 8, 29, 30, 50, 72, 73, 78):
        other = "0" if live.api_secret[place] != "0" else "1"
        secret = live.api_secret[:place] + other + live.api_secret[place + 1 :]
        wrong = Pair(live.api_key, secret)
        INVALID.check(service.get("/v1/account", wrong.bearer), "bearer", bearer=True)
        INVALID.check(service.get("/v1/account", wrong.headers), "pair")
    for text in (live.api_secret + "0", live.api_secret[:-1], live.api_secret.upper()):
        wrong = Pair(live.api_key, text)
        INVALID.check(service.get("/v1/account", wrong.bearer), "bearer", bearer=True)


def test_pair_whose_halves_do_not_belong_together(service: Service, live: Pair, test: Pair) -> None:
    """Two good credentials, mixed."""
    other = service.issue()
    same_id_other_mode = live.api_key.replace("live", "test")
    for api_key in (other.api_key, test.api_key, same_id_other_mode, live.api_secret, "x"):
        mixed = Pair(api_key, live.api_secret)
        INVALID.check(service.get("/v1/account", mixed.headers), "pair")
    swapped = Pair(live.api_secret, live.api_key)
    INVALID.check(service.get("/v1/account", swapped.headers), "pair")


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Api-Secret", "X-Other"])
def test_headers_of_64_kib(service: Service, live: Pair, name: str) -> None:
    for value in ("x" * 65_536, f"Bearer {'x' * 65_536}", "\xff" * 65_536, "," * 65_536):
        HEADERS_TOO_LARGE.check(
            service.send_raw(wire("GET /v1/account", f"{name}: {value}")), "bearer"
        )
        with_key = wire("GET /health", *lines(live.bearer), f"{name}: {value}")
        HEADERS_TOO_LARGE.check(service.send_raw(with_key), "pair")


def test_header_block_of_two_megabytes(service: Service) -> None:
    """More than the server reads; the answer arrives although it never reads the rest."""
    block = [f"X-{number}: {'x' * 8_000}" for number in range(250)]
    HEADERS_TOO_LARGE.check(_send_and_read("GET /v1/account", block, service), "bearer")


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Other"])
@pytest.mark.parametrize("value", ["\x00", "Bearer \x00", "a\x00b", "\x01", "\x7f", "a\rb", "a\nb"])
def test_control_characters_in_headers(service: Service, live: Pair, name: str, value: str) -> None:
    for path, dialect in (("/v1/account", "bearer"), ("/health", "pair")):
        answer = service.send_raw(wire(f"GET {path}", f"{name}: {value}"))
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert answer.code == ("invalid_request" if dialect == "bearer" else "INVALID_REQUEST")


# What would fool the server about who asks for what.


def test_names_with_underscores_present_nothing(service: Service, live: Pair) -> None:
    """They become the same names in the environ, so a proxy that cleans headers would miss them."""
    for headers in (
        [f"X_Api_Key: {live.api_key}", f"X_Api_Secret: {live.api_secret}"],
        [f"X-Api_Key: {live.api_key}", f"X-Api-Secret: {live.api_secret}"],
        [f"X_API_SECRET: {live.api_secret}"],
    ):
        answer = service.send_raw(wire("GET /credentials", *headers))
        assert answer.status == 401
    mixed = wire("GET /credentials", *lines(live.headers), "X_Api_Key: ak_live_other")
    assert service.send_raw(mixed).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /v1",
        "SCRIPT-NAME: /v1",
        "Script_Name: /v1/account",
        "PATH_INFO: /health",
        "Path-Info: /health",
        "REQUEST_METHOD: GET",
        "X-Original-URL: /health",
        "X-Rewrite-URL: /health",
        "X-HTTP-Method-Override: GET",
        "X-Forwarded-Prefix: /docs/",
        "REMOTE_USER: root",
        "latchkey.principal: x",
        "Host: localhost/docs/",
        "Forwarded: for=127.0.0.1;proto=https",
    ],
)
def test_header_opens_nothing(service: Service, live: Pair, header: str) -> None:
    assert service.send_raw(wire("GET /v1/account", header)).status in (400, 401)
    assert service.send_raw(wire("DELETE /health", header)).status in (400, 401)
    answer = service.send_raw(wire("GET /v1/account", header, *lines(live.bearer)))
    assert answer.status in (200, 400)


@pytest.mark.parametrize(
    "target",
    [
        "//health",
        "///health",
        "/health/",
        "/health//",
        "/./health",
        "/docs",
        "/docs%00",
        "/%00",
        "/Health",
        "/health;x",
        "/v1/account/../../health",
        "/health/../v1/account",
        "/v1/%61ccount",
        "/v1/account%2f..%2f..%2fhealth",
        "/v1//account",
        "//v1/account",
        "/credentials/",
        "/metrics/",
        "/openapi.json/",
        "/docs\\x",
        "/.docs/",
        "/x/docs/",
        "/console",
        "/%ff%fe",
        "http://localhost/v1/account",
        "http://localhost/docs/../v1/account?x=/docs/",
        "/?/docs/",
        "/v1/account?/docs/",
        "/v1/account#/docs/",
    ],
)
def test_path_that_only_looks_open(service: Service, target: str) -> None:
    """What the middleware compares is what the router sees, so no spelling gets in between."""
    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = service.send_raw(wire(f"{method} {target}"))
        allowed = {401}
        if target.startswith("http://localhost/docs/"):
            allowed = {404, 405}
        assert answer.status in allowed, (method, target)


@pytest.mark.parametrize(
    "target",
    [
        "/docs/../v1/account",
        "/docs/..%2fv1%2faccount",
        "/docs/%2e%2e/v1/account",
        "/docs//v1/account",
        "/docs/assets/../../v1/account",
        "/docs/assets/..%2f..%2f..%2f__init__.py",
        "/docs/assets/%2e%2e/%2e%2e/__init__.py",
        "/docs/assets//etc/passwd",
        "/docs/assets/%2fetc%2fpasswd",
        "/docs/assets/..\\..\\__init__.py",
        "/docs/assets/",
        "/docs/assets/%00",
        "/docs/%ff",
        "/docs/credentials",
        "/console/../v1/account",
        "/console/x",
    ],
)
def test_open_area_leads_nowhere_else(service: Service, live: Pair, target: str) -> None:
    for headers in ([], lines(live.bearer)):
        answer = service.send_raw(wire(f"GET {target}", *headers))
        NOT_FOUND.check(answer, "pair")


@pytest.mark.parametrize(
    ("target", "opened"),
    [("/%68ealth", True), ("http://localhost/health", True), ("/health?x=%ff", True)],
)
def test_other_spellings_of_the_same_path(service: Service, target: str, opened: bool) -> None:
    """These are the same resource by RFC 3986, so they are open as it is."""
    assert (service.send_raw(wire(f"GET {target}")).status == 200) is opened


# What the parser refuses.


def _send_and_read(request: str, headers: list[str], service: Service) -> Answer:
    """Send without half-closing, and read what comes, as an ordinary client does."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(wire(request, *headers))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())


@pytest.mark.parametrize(
    "data",
    [
        b"GET\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"get /health HTTP/1.1\r\n\r\n",
        b"G@T /health HTTP/1.1\r\n\r\n",
        b"GET health HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET http://[x/ HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\n\n",
        b"GET /health HTTP/0.9\r\n\r\n",
        b"GET /health HTTP/2.0\r\n\r\n",
        b"GET /health HTTP/3\r\n\r\n",
        b"GET /health HTTP/1.10\r\n\r\n",
        b"GET /health SMTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /health HTTP/1.1\r\n\r\n",
        wire("GET /health", "No colon"),
        wire("GET /health", ": no name"),
        wire("GET /health", "Bad Name: x"),
        wire("GET /health", "Space : x"),
        wire("GET /health", "N\xe4me: x"),
        wire("GET /health", "X: folded", " over two lines"),
        wire("GET /health", "Host: second"),
        wire("GET /health", "Expect: nonsense"),
        wire("GET /health", "Content-Length: x"),
        wire("GET /health", "Content-Length: -1"),
        wire("GET /health", "Content-Length: +1"),
        wire("GET /health", "Content-Length: \xb2"),
        wire("GET /health", "Content-Length: 1", "Content-Length: 1"),
        wire("GET /health", f"Content-Length: {'9' * 5_000}"),
        wire("GET /health", "Content-Length: 5", CHUNKED),
        wire("GET /health", CHUNKED, "Content-Length: 0"),
        wire("GET /health", "Transfer-Encoding: sdch"),
        wire("GET /health", "Transfer-Encoding: gzip"),
        wire("GET /health", "Transfer-Encoding: chunked, chunked"),
        wire("GET /health", "Transfer-Encoding: chunked, identity"),
        wire("GET /health", CHUNKED, version="HTTP/1.0"),
        wire("GET /" + "x" * 10_000),
        wire("GET /health?" + "x" * 10_000),
    ],
)
def test_what_the_parser_refuses(service: Service, data: bytes) -> None:
    answer = service.send_raw(data)
    INVALID_REQUEST.check(answer, "pair")
    assert answer.headers["connection"] == "close"


def test_what_the_parser_refuses_in_the_dialect_of_the_path(service: Service, live: Pair) -> None:
    answer = service.send_raw(wire("GET /v1/account", *lines(live.bearer), "Bad Name: x"))
    INVALID_REQUEST.check(answer, "bearer")


def test_target_that_is_longer_than_the_server_reads(service: Service) -> None:
    INVALID_REQUEST.check(_send_and_read("GET /" + "x" * 200_000, [], service), "pair")


BAD_CHUNKS = [
    b"x\r\n\r\n",
    b"-1\r\n\r\n",
    b"+1\r\nx\r\n0\r\n\r\n",
    b"0x1\r\nx\r\n0\r\n\r\n",
    b"1_0\r\nx\r\n",
    b"\r\n\r\n",
    b" 1\r\nx\r\n0\r\n\r\n",
    b"1\r\nxx\r\n0\r\n\r\n",
    b"1;\x00\r\nx\r\n0\r\n\r\n",
    b"f" * 20_000,
    b'c\r\n{"name":"x"}\r\n0\r\nAuthorization: x\r\n\r\n',
    b'c\r\n{"name":"x"}\r\n0\r\nBad Name: x\r\n\r\n',
]


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_bad_chunks_where_the_body_is_read(service: Service, live: Pair, body: bytes) -> None:
    answer = create(service, live, JSON, CHUNKED, body=body)
    INVALID_REQUEST.check(answer, "bearer", bearer=True)
    INVALID_REQUEST.check(
        service.send_raw(wire("POST /credentials", JSON, CHUNKED, body=body)), "pair"
    )


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_bad_chunks_where_no_body_is_read(service: Service, live: Pair, body: bytes) -> None:
    """The request is answered as it stands; the connection is not used again."""
    for path, headers, status in (
        ("/health", [], 200),
        ("/v1/account", lines(live.bearer), 200),
        ("/v1/account", [], 401),
    ):
        next_one = wire("GET /metrics")
        data = wire(f"GET {path}", *headers, CHUNKED, body=body) + next_one
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert received.count(b"HTTP/1.1 ") == 1


def test_service_is_well_after_all_that(service: Service, live: Pair) -> None:
    assert service.get("/v1/account", live.bearer).status == 200
    assert service.get("/ready").status == 200
    assert "Traceback" not in service.log


# Random credentials.

_CHARACTERS = st.characters(
    codec="latin-1", exclude_characters="\r\n\x00", exclude_categories=["Cc"]
)
_TEXT = st.text(_CHARACTERS, max_size=90)
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LIKE = st.builds(
    lambda prefix, mode, rest: f"{prefix}_{mode}_{rest}",
    st.sampled_from(["sk", "ak"]),
    st.sampled_from(["live", "test", "prod"]),
    st.text(_BASE62, min_size=20, max_size=72),
)
_VALUE = st.one_of(_TEXT, _SECRET_LIKE)
_HEADERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["X-Api-Key", "X-Api-Secret", "x-api-KEY"]), _VALUE),
        st.tuples(
            st.just("Authorization"),
            st.builds(
                lambda scheme, gap, value: scheme + gap + value,
                st.sampled_from(["Bearer", "bearer", "Basic", "", "Bearer,"]),
                st.sampled_from([" ", "", "  ", ",", "\t"]),
                _VALUE,
            ),
        ),
    ),
    max_size=5,
)


@given(headers=_HEADERS, path=st.sampled_from(["/v1/account", "/credentials", "/nowhere", "/v1/x"]))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_credentials_are_refused(
    service: Service, headers: list[tuple[str, str]], path: str
) -> None:
    data = wire(f"GET {path}", *[f"{name}: {value}" for name, value in headers])
    answer = service.send_raw(data)
    assert answer.status in (400, 401, 429)
    assert set(answer.json) == {"error"}
    assert set(json.loads(answer.body)["error"]) == {"type", "code", "message"}
