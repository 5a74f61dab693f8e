"""``Idempotency-Key``: a repeated request creates no second key."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.support.api.accounts import key_for, manager, new_account
from tests.support.api.contract import (
    INSUFFICIENT_SCOPE,
    INVALID_FIELD,
    INVALID_REQUEST,
    JSON_HEADER,
    Row,
    create,
    lines,
    wire,
)
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, Pair, Service

ALREADY_CREATED = Row(409, "conflict_error", "ALREADY_CREATED")
REUSED = Row(422, "invalid_request_error", "IDEMPOTENCY_KEY_REUSED")
_DAY = 24 * 3_600_000


def send(
    service: Service, by: Pair, key: str, path: str = "/v1/api_keys", **terms: object
) -> Answer:
    """Create a key, or rotate one, with an idempotency key."""
    body = {"name": "x", **terms} if path == "/v1/api_keys" else terms
    headers = {**by.bearer, "Idempotency-Key": key}
    return service.request("POST", path, headers, json_body=body)


def rotation(pair: Pair) -> str:
    return f"/v1/api_keys/{pair.api_key}/rotate"


def keys_of(service: Service, by: Pair) -> list[str]:
    listed = service.get("/v1/api_keys?limit=100", by.bearer).json["credentials"]
    return [one["api_key"] for one in listed]


def require_already_created(answer: Answer, made: Any) -> None:
    ALREADY_CREATED.check(answer, "bearer", bearer=True)
    assert answer.json["error"]["message"] == f"Already created: {made['api_key']}"
    assert made["api_secret"].encode() not in answer.body


@pytest.fixture(scope="module")
def writer(service: Service) -> Pair:
    return manager(service)


@pytest.fixture
def caller(service: Service, writer: Pair) -> Pair:
    """A key that is alone in its account."""
    return key_for(service, writer, new_account(service, writer)["id"])


def test_a_repeated_request_creates_one_key(service: Service, caller: Pair) -> None:
    once = uuid4().hex
    made = send(service, caller, once)
    assert made.status == 201
    for _ in range(4):
        require_already_created(send(service, caller, once), made.json)
    assert keys_of(service, caller) == [made.json["api_key"], caller.api_key]
    for other in ({"name": "y"}, {"scopes": ["account:read"]}):
        REUSED.check(send(service, caller, once, **other), "bearer", bearer=True)
    assert send(service, caller, uuid4().hex).status == 201
    assert create(service, caller).status == 201
    assert len(keys_of(service, caller)) == 4


def test_the_fingerprint_has_the_bytes_of_the_body(service: Service, caller: Pair) -> None:
    once = uuid4().hex

    def sent(body: bytes) -> Answer:
        headers = {**caller.bearer, "Idempotency-Key": once, "Content-Type": "application/json"}
        return service.request("POST", "/v1/api_keys", headers, body=body)

    made = sent(b'{"name":"x"}')
    assert made.status == 201
    REUSED.check(sent(b'{"name": "x"}'), "bearer", bearer=True)
    require_already_created(sent(b'{"name":"x"}'), made.json)


@pytest.mark.parametrize("overlap", [0, 3600])
def test_a_repeated_rotation_makes_one_successor(
    service: Service, caller: Pair, overlap: int
) -> None:
    """Also if the key has expired or was rotated by the first request."""
    target = Pair(create(service, caller).json["api_key"], "")
    once = uuid4().hex
    made = send(service, caller, once, rotation(target), overlap_seconds=overlap)
    assert made.status == 201
    for _ in range(4):
        repeated = send(service, caller, once, rotation(target), overlap_seconds=overlap)
        require_already_created(repeated, made.json)
    REUSED.check(
        send(service, caller, once, rotation(target), overlap_seconds=overlap + 1),
        "bearer",
        bearer=True,
    )
    code = "key_expired" if overlap == 0 else "already_rotated"
    assert send(service, caller, uuid4().hex, rotation(target)).code == code
    assert len(keys_of(service, caller)) == 3


def test_a_rotation_and_a_creation_are_other_requests(service: Service, caller: Pair) -> None:
    once = uuid4().hex
    assert send(service, caller, once).status == 201
    REUSED.check(send(service, caller, once, rotation(caller)), "bearer", bearer=True)


def test_a_key_that_rotates_itself_learns_its_successor(service: Service, caller: Pair) -> None:
    once = uuid4().hex
    made = send(service, caller, once, rotation(caller))
    assert made.status == 201
    require_already_created(send(service, caller, once, rotation(caller)), made.json)


def test_rights_come_first(service: Service, writer: Pair, caller: Pair) -> None:
    """A caller without the rights, or whose target is gone, learns nothing about the entry."""
    once, target = uuid4().hex, uuid4().hex
    made = send(service, caller, once, scopes=["account:read", "orders:read"])
    assert made.status == 201
    victim = create(service, caller, scopes=["orders:read"]).json
    pair = Pair(victim["api_key"], victim["api_secret"])
    assert send(service, caller, target, rotation(pair)).status == 201
    narrowed = service.request(
        "PATCH",
        f"/v1/api_keys/{caller.api_key}",
        writer.bearer,
        json_body={"scopes": ["credentials:write", "account:read"]},
    )
    assert narrowed.status == 200
    answer = send(service, caller, once, scopes=["account:read", "orders:read"])
    INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="orders:read")
    answer = send(service, caller, target, rotation(pair))
    INSUFFICIENT_SCOPE.check(answer, "bearer", bearer=True, scope="orders:read")
    service.request("DELETE", f"/v1/api_keys/{pair.api_key}", writer.bearer)
    assert send(service, caller, target, rotation(pair)).code == "credential_not_found"


def test_entries_belong_to_the_calling_key(service: Service, writer: Pair, caller: Pair) -> None:
    """The same value of callers in other modes and accounts, and in the same one, is another."""
    test_writer = manager(service, "test")
    account = service.get("/v1/account", caller.bearer).json["id"]
    callers = [
        caller,
        key_for(service, writer, account),
        key_for(service, test_writer, account),
        key_for(service, writer, new_account(service, writer)["id"]),
        service.issue(),
    ]
    once = uuid4().hex
    made = [send(service, one, once) for one in callers]
    assert [answer.status for answer in made] == [201] * 5
    assert len({answer.json["api_key"] for answer in made}) == 5
    for one, answer in zip(callers, made, strict=True):
        require_already_created(send(service, one, once), answer.json)


def test_a_refused_request_is_not_remembered(service: Service, caller: Pair) -> None:
    once = uuid4().hex
    assert send(service, caller, once, name="").status == 400
    assert send(service, caller, once, account="acct_" + "0" * 22, scopes=["*"]).status == 404
    assert send(service, caller, once).status == 201


@pytest.mark.parametrize("key", ["~", "a,b", '"8e03978e"', "x" * 64])
def test_valid_values(service: Service, caller: Pair, key: str) -> None:
    made = send(service, caller, key)
    assert made.status == 201
    require_already_created(send(service, caller, key), made.json)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 65, "é", "a\tb"])
def test_invalid_values(service: Service, caller: Pair, key: str) -> None:
    for path in ("/v1/api_keys", rotation(caller)):
        answer = send(service, caller, key, path)
        INVALID_FIELD.check(answer, "bearer", bearer=True)
        message = "must be 1 to 64 visible ASCII characters without spaces"
        assert answer.json["error"]["message"] == f"Idempotency-Key: {message}"
    assert keys_of(service, caller) == [caller.api_key]


def test_a_value_that_is_given_twice(service: Service, caller: Pair) -> None:
    """The joined values would be a valid one."""
    body = json.dumps({"name": "x"}).encode()
    answer = service.send_raw(
        wire(
            "POST /v1/api_keys",
            *lines(caller.bearer),
            ": ".join(JSON_HEADER),
            f"Content-Length: {len(body)}",
            "Idempotency-Key: a",
            "idempotency-key: a",
            body=body,
        )
    )
    INVALID_REQUEST.check(answer, "bearer")
    assert keys_of(service, caller) == [caller.api_key]


def test_equal_requests_at_once_make_one_key(service: Service, caller: Pair) -> None:
    """Both wait for the database, often in two workers, when it becomes free."""
    for _ in range(5):
        once, before = uuid4().hex, service.usage(caller)["requests"]
        with (
            ThreadPoolExecutor(2) as pool,
            service.rows.connected() as database,
        ):
            database.execute("BEGIN IMMEDIATE")
            sent = [pool.submit(send, service, caller, once) for _ in range(2)]
            wait_until(
                lambda before=before: service.usage(caller)["requests"] == before + 2,  # type: ignore[misc]
                "the requests to be let in",
            )
            database.execute("COMMIT")
            first, second = sorted((one.result() for one in sent), key=lambda one: one.status)
        assert first.status == 201
        require_already_created(second, first.json)
    assert len(keys_of(service, caller)) == 6


def test_entries_are_forgotten_after_a_day(service: Service, caller: Pair) -> None:
    once = uuid4().hex
    first = send(service, caller, once)
    for age, status in ((_DAY - 60_000, 409), (_DAY + 1, 201)):
        with service.rows.connected() as database:
            database.execute(
                "UPDATE idempotency SET created_at = ? WHERE key = ?",
                [int(time.time() * 1000) - age, once],
            )
        answer = send(service, caller, once)
        assert answer.status == status
    assert answer.json["api_key"] != first.json["api_key"]
    require_already_created(send(service, caller, once), answer.json)
