"""Fields and parameters that no valid client sends: a message names each with its rule."""

from __future__ import annotations

import json

import pytest

from tests.support.api.contract import INVALID_FIELD, INVALID_REQUEST, derived, encode
from tests.support.api.hostile import JSON, create, length
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack


def values(field: str, *wrong: object) -> list[tuple[str, object]]:
    return [(field, value) for value in wrong]


WRONG_FIELDS = [
    *values("name", None, 1, True, 1.5, [], {}, "", " ", " x", "x ", "x" * 101),
    *values("name", "a\x00b", "a\nb", "\x7f", "\ud800", "x\udfff"),
    *values("name", "a\x9b31mred", "a\u202eb", "a\u2028b", "\u2066"),
    *values("name", "\u200b", "\u3164", "\u2800", "\u115f\u1160", "\u180e", "\ufeff\u200d"),
    *values("name", "\xa0", "\u2003", "\u3000", "\xad", "\u0301", "\ue000", "\uffff", "\ufe0f"),
    *values("name", "\U000e0041", "\U0001d159", "\u200b \u3164", "\xa0x", "x\u3000"),
    *values("mode", None, 1, True, "", "LIVE", "prod", ["live"], "live\x00"),
    *values("scopes", None, "", "*", 1, True, {}, [], [None], [1], [[]], [""]),
    *values("scopes", ["admin"], ["*:write"], ["*", "x:*"], ["account:read:x"], ["\ud800"]),
    *values("expires_at", 0, 1893456000, 1e300, 10**400, True, "", "now", [], {}),
    *values("expires_at", "2035-01-01", "2035-01-01 00:00:00Z", "2035-01-01T00:00:00"),
    *values("expires_at", "2035-13-01T00:00:00Z", "2035-02-30T00:00:00Z", "2035-01-01T24:30:00Z"),
    *values("expires_at", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    *values("expires_at", "2035-01-01T00:00:00+99:99", "٢٠٣٥-01-01T00:00:00Z", "\ud800"),
    *values("expires_at", "2020-01-01T00:00:00Z"),
    *values("enabled", None, 0, 1, "", "true", []),
    *values("not_before", 0, True, "", "now", [], "2035-01-01"),
    *values("networks", "10.0.0.0/8", 1, True, {}, [], [None], [1], [""], ["10.0.0.1/8"]),
    *values("networks", ["fe80::1%eth0"], ["10.0.0.0/8", "x"], ["\ud800"], ["10.0.0.0/8"] * 33),
    *values("networks_mode", None, "", "off", 1, ["observe"]),
    *values("endpoints", "GET /", 1, True, {}, [], [None], [""], ["GET"], ["get /"], ["/"]),
    *values(
        "endpoints", ["GET //"], ["GET /a?b"], ["GET /" + "a" * 600], ["GET /"] * 33, ["\ud800"]
    ),
    *values("metadata", 1, True, "", "{}", [], {"a": "x" * 5000}, {"a": "\ud800"}),
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
        *values("name", 1, "", " ", [], "a\x00", "\ud800", "x" * 101, "\u200b", "\u3164"),
    ],
)
def test_wrong_value_of_a_field_of_a_registration(
    service: Service, field: str, value: object
) -> None:
    body = {**vars(derived(service)), field: value}
    answer = service.request("POST", "/credentials", json_body=body)
    INVALID_FIELD.check(answer, "pair")
    assert answer.json["error"]["message"].startswith(field)


@pytest.mark.parametrize(
    ("field", "form"),
    [("name", "key {}"), ("endpoints", ["GET /", "GET /keys/{}"]), ("metadata", {"a": "{}"})],
)
def test_a_secret_in_a_field_is_refused(
    service: Service, live: Pair, field: str, form: object
) -> None:
    """Fields are stored, listed and written to the audit log."""
    value = json.loads(json.dumps(form).replace("{}", live.api_secret))
    created = service.request(
        "POST", "/v1/api_keys", live.bearer, json_body={"name": "x", field: value}
    )
    path = f"/v1/api_keys/{live.api_key}"
    changed = service.request("PATCH", path, live.bearer, json_body={field: value})
    for answer in (created, changed):
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert "contains what looks like an API secret" in answer.json["error"]["message"]
        assert live.api_secret.encode() not in answer.body


def test_wrong_name_in_a_change(service: Service, live: Pair) -> None:
    path = f"/v1/api_keys/{service.issue().api_key}"
    for name in ("\u200b", "\u3164\u2800", "", " x", None, 1):
        answer = service.request("PATCH", path, live.bearer, json_body={"name": name})
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert answer.json["error"]["message"].startswith("name: must ")


@pytest.mark.parametrize(
    "name",
    ["x", "\u2764\ufe0f", "\U0001f469\u200d\U0001f467", "\u0645\u06cc\u200c\u062e", "x" * 100],
)
def test_name_of_every_language(service: Service, live: Pair, name: str) -> None:
    answer = service.request("POST", "/v1/api_keys", live.bearer, json_body={"name": name})
    assert (answer.status, answer.json["name"]) == (201, name)


WRONG_LIMITS = [
    *("0", "101", "-1", "1.0", "1.5", "x", "", "1e1", "9" * 300, "0x10"),
    *("%D9%A1", "1_0", "+"),
]
A_LIMIT = "a whole number from 1 to 100"
ALLOWED = (
    "allowed are name, account, mode, scopes, expires_at, enabled, not_before, networks, "
    "networks_mode, endpoints, metadata, limits"
)
TOO_LONG = "a" * 5_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"expiresAt":1,"name":"x"}', f"expiresAt: is unknown here; {ALLOWED}"),
        (b'{"name":"x","expires-at":1}', f"expires-at: is unknown here; {ALLOWED}"),
        (b'{"name":"x","Name":1}', f"Name: is unknown here; {ALLOWED}"),
        (b'{"Name":"x"}', f"Name: is unknown here; {ALLOWED}"),
        (b'{"expiresAt":1}', f"expiresAt: is unknown here; {ALLOWED}"),
        (b'{"name":1,"expiresAt":1}', f"expiresAt: is unknown here; {ALLOWED}"),
        (b'{"name":"x","a b":1}', f'"a b": is unknown here; {ALLOWED}'),
        (b'{"name":"x","":1}', f'"": is unknown here; {ALLOWED}'),
        ('{"name":"x","é":1}'.encode(), f'"\\u00e9": is unknown here; {ALLOWED}'),
        (b'{"name":"x","\\ud800":1}', "body: must be a string of valid Unicode"),
        (
            f'{{"name":"x","{TOO_LONG}":1}}'.encode(),
            f"a name of 5000 characters: is unknown here; {ALLOWED}",
        ),
        (b"{}", "name: is required"),
        (b'{"name":1}', "name: must be a string"),
        (b'{"name":null}', "name: must be a string"),
        (b'{"name":""}', "name: must have 1 to 100 characters"),
        (b'{"name":" x"}', "name: must not begin or end with a space"),
        (b'{"name":"\\u3164"}', "name: must have a visible character"),
        (b'{"name":"x","mode":"prod"}', "mode: must be 'live' or 'test'"),
        (b'{"name":"x","scopes":"*"}', "scopes: must be a list"),
        (b'{"name":"x","scopes":[]}', "scopes: must have at least 1 item"),
        (b'{"name":"x","scopes":["*",1]}', "scopes.1: must be a string"),
        (
            b'{"name":"x","expires_at":1}',
            "expires_at: must be an RFC 3339 time such as 2026-01-15T10:30:00Z",
        ),
    ],
)
def test_a_message_names_the_field_and_the_rule(
    service: Service, live: Pair, body: bytes, message: str
) -> None:
    answer = create(service, live, JSON, length(body), body=body)
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    assert answer.json["error"]["message"] == message


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"name":"x","name":"y"}', "name"),
        (b'{"mode":"live","name":"x","mode":"live"}', "mode"),
        (b'{"expiresAt":1,"name":"x","expiresAt":1}', "expiresAt"),
        (b'{"name":{"a b":1,"c":2,"a b":1}}', '"a b"'),
        (b'{"n\\u0061me":"x","name":"y"}', "name"),
    ],
)
def test_a_message_names_a_repeated_field(
    service: Service, live: Pair, body: bytes, name: str
) -> None:
    answer = create(service, live, JSON, length(body), body=body)
    INVALID_REQUEST.check(answer, "bearer", bearer=True)
    assert answer.json["error"]["message"] == f"{name}: is given twice"


def test_a_secret_in_place_of_a_name_is_not_sent_back(service: Service, live: Pair) -> None:
    secret = live.api_secret
    for body in (
        encode({"name": "x", secret: 1}),
        encode({"name": "x", f"x {secret[:40]}": 1}),
        f'{{"{secret}":1,"{secret}":2}}'.encode(),
    ):
        answer = create(service, live, JSON, length(body), body=body)
        assert answer.json["error"]["message"].startswith("body: ")
        assert secret[8:30].encode() not in answer.body


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Limit=1", "Limit: is unknown here; allowed are limit, cursor, account"),
        ("limit=1&page=2", "page: is unknown here; allowed are limit, cursor, account"),
        ("%C3%A9=1", '"\\u00e9": is unknown here; allowed are limit, cursor, account'),
        *((f"limit={wrong}", f"limit: must be {A_LIMIT}") for wrong in WRONG_LIMITS),
        ("limit=1&limit=2", "limit: is given twice"),
        ("limit=1&limit=1", "limit: is given twice"),
        ("x=1&x=2", "x: is given twice"),
        ("cursor=x", "cursor: must be the next_cursor of the previous page"),
    ],
)
def test_a_message_names_the_parameter_and_the_rule(
    service: Service, live: Pair, query: str, message: str
) -> None:
    for path in ("/v1/api_keys", "/credentials"):
        answer = service.get(f"{path}?{query}", live.bearer)
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        assert answer.json["error"]["message"] == message


@pytest.mark.parametrize("overlap", [-1, 2_592_001, 1.5, "1", True, None, 10**30, []])
def test_a_message_names_the_overlap(service: Service, live: Pair, overlap: object) -> None:
    path = f"/v1/api_keys/{service.issue().api_key}/rotate"
    answer = service.request("POST", path, live.bearer, json_body={"overlap_seconds": overlap})
    INVALID_FIELD.check(answer, "bearer", bearer=True)
    message = "overlap_seconds: must be a whole number from 0 to 2592000"
    assert answer.json["error"]["message"] == message


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


@pytest.mark.parametrize("limit", WRONG_LIMITS)
def test_wrong_limit(service: Service, live: Pair, limit: str) -> None:
    answer = service.get(f"/credentials?limit={limit}", live.headers)
    INVALID_FIELD.check(answer, "pair")
