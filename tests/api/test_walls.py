"""No key reaches another account or mode, on every operation of the OpenAPI document.

Each operation is called by keys with different reach, once with each thing that is out of reach and
once with an unknown one: the two answers must be the same bytes, and no answer may contain a trace
of what is out of reach. An operation or a parameter that is not classified here fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from latchkey.credentials.models import MODES, Mode
from latchkey.credentials.tokens import new_api_key, new_id
from latchkey_service.api.cursors import CursorKind, write_cursor
from tests.support.api.accounts import key_for, manager, new_account
from tests.support.api.contract import derived
from tests.support.service import Answer, Pair, Service

# What each operation refers to, by its parameters and the fields of its body.
OPEN = {
    *(("get", path) for path in ("/health", "/ready", "/metrics", "/openapi.json", "/docs/")),
    ("post", "/credentials"),
}
REFERENCES = {
    ("get", "/credentials"): ["account", "cursor"],
    ("delete", "/credentials/{api_key}"): ["api_key"],
    ("get", "/v1/account"): [],
    ("get", "/v1/accounts"): ["external_id", "cursor"],
    ("post", "/v1/accounts"): ["external_id"],
    ("get", "/v1/accounts/{account_id}"): ["account_id"],
    ("patch", "/v1/accounts/{account_id}"): ["account_id", "external_id"],
    ("post", "/v1/accounts/{account_id}/revoke_keys"): ["account_id"],
    ("get", "/v1/accounts/{account_id}/usage"): ["account_id"],
    ("get", "/v1/api_keys"): ["account", "cursor"],
    ("post", "/v1/api_keys"): ["account"],
    ("get", "/v1/api_keys/self"): [],
    ("get", "/v1/api_keys/{api_key}"): ["api_key"],
    ("patch", "/v1/api_keys/{api_key}"): ["api_key"],
    ("delete", "/v1/api_keys/{api_key}"): ["api_key"],
    ("post", "/v1/api_keys/{api_key}/rotate"): ["api_key"],
    ("get", "/v1/api_keys/{api_key}/usage"): ["api_key"],
    ("post", "/v1/verify"): ["api_secret"],
    # Each of its items is checked like a request of its own: see test_verify.py.
    ("post", "/v1/verify/batch"): [],
}
# Parameters and fields that refer to nothing stored.
PLAIN = {
    # Entries belong to the calling key: see test_idempotency.py.
    "Idempotency-Key",
    *("limit", "name", "mode", "scopes", "expires_at", "metadata", "status", "dry_run"),
    *("enabled", "not_before", "networks", "networks_mode", "endpoints", "overlap_seconds"),
    *("scope_any", "method", "path", "address", "cost", "items", "limits"),
}
# Fields of a body that are parts of a path elsewhere.
OF_A_PAIR = {("post", "/v1/verify"): {"api_key"}}
# A body that is accepted, apart from references.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/accounts"): {"name": "x"},
    ("patch", "/v1/accounts/{account_id}"): {"name": "x"},
    ("post", "/v1/accounts/{account_id}/revoke_keys"): {},
    ("post", "/v1/api_keys"): {"name": "x", "scopes": ["account:read"]},
    ("patch", "/v1/api_keys/{api_key}"): {"name": "x"},
    ("post", "/v1/api_keys/{api_key}/rotate"): {"overlap_seconds": 0},
    ("post", "/v1/verify"): {"api_secret": "x"},
    ("post", "/v1/verify/batch"): {"items": [{"api_secret": "x"}]},
}

Operation = tuple[str, str]


@dataclass(frozen=True)
class Account:
    """An account with a key in each mode."""

    id: str
    external_id: str
    keys: dict[Mode, Pair]


@dataclass(frozen=True)
class Caller:
    """A key that makes requests. ``accounts``: its scope on accounts, without the resource.

    ``verifies``: the accounts whose keys it may verify.
    """

    pair: Pair
    account: str
    mode: Mode
    accounts: str = ""
    verifies: frozenset[str] = frozenset()

    def reaches(self, account: str, mode: Mode, writing: bool) -> bool:
        """Whether it may see, or change, the keys of an account in a mode."""
        return mode == self.mode and self.reaches_account(account, writing)

    def reaches_account(self, account: str, writing: bool) -> bool:
        sufficient = ("write",) if writing else ("read", "write")
        return account == self.account or self.accounts in sufficient


@dataclass(frozen=True)
class World:
    """Two accounts beside the instance account, and the callers."""

    service: Service
    accounts: list[Account]
    callers: dict[str, Caller]
    numbers: dict[str, int] = field(default_factory=dict)

    def out_of_reach(self, caller: Caller, writing: bool) -> list[tuple[str, Mode]]:
        """The keys that a caller must not reach: their public keys and modes."""
        return [
            (pair.api_key, mode)
            for account in self.accounts
            for mode, pair in account.keys.items()
            if not caller.reaches(account.id, mode, writing)
        ]

    def accounts_out_of_reach(self, caller: Caller, writing: bool) -> list[Account]:
        return [one for one in self.accounts if not caller.reaches_account(one.id, writing)]

    def traces(self, caller: Caller) -> list[str]:
        """Texts that no answer to a caller may contain."""
        keys = [api_key for api_key, _ in self.out_of_reach(caller, writing=False)]
        accounts = self.accounts_out_of_reach(caller, writing=False)
        return [*keys, *(text for one in accounts for text in (one.id, one.external_id))]


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    managers = {mode: manager(service, mode) for mode in MODES}
    instance = service.get("/v1/account", managers["live"].bearer).json["id"]
    accounts = []
    for _ in range(2):
        external_id = uuid4().hex
        made = new_account(service, managers["live"], external_id=external_id)["id"]
        keys = {mode: key_for(service, managers[mode], made) for mode in MODES}
        accounts.append(Account(made, external_id, keys))
    ours = accounts[0]
    accounts.append(Account(instance, uuid4().hex, {mode: service.issue(mode) for mode in MODES}))
    callers = {}
    for mode in MODES:
        callers[f"account, {mode}"] = Caller(ours.keys[mode], ours.id, mode)
        callers[f"instance, {mode}"] = Caller(service.issue(mode), instance, mode)
        reader = manager(service, mode, "accounts:read")
        callers[f"reader, {mode}"] = Caller(reader, instance, mode, "read")
        callers[f"writer, {mode}"] = Caller(managers[mode], instance, mode, "write")
        scopes = ("--scope", "*", "--scope", "verify:write")
        everywhere = frozenset(one.id for one in accounts)
        verifier = service.create_key(mode, *scopes)
        callers[f"verifier, {mode}"] = Caller(verifier, instance, mode, "", everywhere)
        verifier = service.create_key(mode, *scopes, "--account", ours.id)
        callers[f"own verifier, {mode}"] = Caller(verifier, ours.id, mode, "", frozenset({ours.id}))
    with service.rows.connected() as database:
        rows = database.execute("SELECT api_key, id FROM credential").fetchall()
    return World(service, accounts, callers, dict(rows))


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/openapi.json").json
    return found


def described(document: dict[str, Any]) -> dict[Operation, set[str]]:
    """The operations, each with its parameters and the fields of its body."""
    found = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            names = {one["name"] for one in operation.get("parameters", ())}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                shape = content["schema"]["$ref"].rpartition("/")[2]
                names |= set(document["components"]["schemas"][shape]["properties"])
            found[method, path] = names
    return found


def stored(service: Service) -> list[list[Any]]:
    """Everything that a change of accounts or keys writes."""
    columns = "id, api_key, account_id, name, scopes, expires_at, revoked_at, rotated_to"
    queries = (
        f"SELECT {columns} FROM credential ORDER BY id",
        "SELECT * FROM account ORDER BY number",
        "SELECT count(*) FROM audit",
    )
    with service.rows.connected() as database:
        return [database.execute(query).fetchall() for query in queries]


def call(
    world: World, caller: Caller, operation: Operation, reference: str = "", value: str = ""
) -> Answer:
    """Make a request of an operation in which one reference has a value."""
    method, path = operation
    own = {"api_key": caller.pair.api_key, "account_id": caller.account}
    body = BODIES.get(operation)
    query = ""
    if reference in own:
        own[reference] = value
    elif body is not None and reference:
        body = {**body, reference: value}
    elif reference:
        query = f"?limit=100&{reference}={value}"
    return world.service.request(
        method.upper(), path.format(**own) + query, caller.pair.bearer, json_body=body
    )


def attacks(world: World, caller: Caller, operation: Operation) -> Iterator[tuple[str, str, str]]:
    """References with a thing that is out of reach, and with an unknown thing of the same form."""
    writing = operation[0] != "get"
    for reference in REFERENCES[operation]:
        if reference == "api_key":
            for api_key, mode in world.out_of_reach(caller, writing):
                yield reference, api_key, new_api_key(mode)
        if reference == "api_secret":
            for account, mode in product(world.accounts, MODES):
                if mode != caller.mode or account.id not in caller.verifies:
                    unknown = derived(world.service, mode)
                    yield reference, account.keys[mode].api_secret, unknown.api_secret
        for account in world.accounts_out_of_reach(caller, writing):
            if reference in ("account", "account_id"):
                yield reference, account.id, f"acct_{new_id()}"
            elif reference == "external_id":
                yield reference, account.external_id, uuid4().hex


def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """All of an answer except for the time."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status, headers, answer.body


def require_no_trace(world: World, caller: Caller, answer: Answer, what: object) -> None:
    for trace in world.traces(caller):
        assert trace.encode() not in answer.body, what


CALLERS = [
    f"{kind}, {mode}"
    for kind, mode in product(
        ("account", "instance", "reader", "writer", "verifier", "own verifier"), MODES
    )
]


def test_every_operation_is_classified(document: dict[str, Any]) -> None:
    """A new operation or parameter has to be added above, with what it refers to."""
    operations = described(document)
    # The routes of proxies refer to nothing: tests/verify has their tests.
    of_proxies = {one for one in operations if one[1].startswith("/verify/")}
    assert set(operations) - of_proxies == OPEN | set(REFERENCES)
    for operation, references in REFERENCES.items():
        names = operations[operation]
        assert names - PLAIN - OF_A_PAIR.get(operation, set()) == set(references), operation
        assert (operation in BODIES) == (operation[0] in ("post", "patch")), operation


@pytest.mark.parametrize("name", CALLERS)
def test_what_is_out_of_reach_is_answered_like_what_does_not_exist(world: World, name: str) -> None:
    caller = world.callers[name]
    before = stored(world.service)
    tried = 0
    for operation in REFERENCES:
        for reference, hidden, unknown in attacks(world, caller, operation):
            what = (operation, reference)
            answer = call(world, caller, operation, reference, hidden)
            assert told(answer) == told(call(world, caller, operation, reference, unknown)), what
            if caller.verifies and operation == ("post", "/v1/verify"):
                assert (answer.status, answer.json["code"]) == (200, "INVALID_API_KEY"), what
            else:
                assert answer.status in (403, 404), what
            require_no_trace(world, caller, answer, what)
            tried += 1
    assert tried >= 18
    assert stored(world.service) == before


@pytest.mark.parametrize("name", CALLERS)
def test_no_answer_shows_what_is_out_of_reach(world: World, name: str) -> None:
    """Every operation that only reads, with the caller's own key and account."""
    caller = world.callers[name]
    for operation in REFERENCES:
        if operation[0] == "get":
            answer = call(world, caller, operation)
            permitted = caller.accounts or not operation[1].startswith("/v1/accounts")
            assert answer.status == (200 if permitted else 403), operation
            require_no_trace(world, caller, answer, operation)
    if caller.accounts == "write":
        # All accounts are in reach, but only their keys in the caller's mode.
        for account in world.accounts:
            path = f"/v1/accounts/{account.id}/revoke_keys"
            dry = {"dry_run": True}
            answer = world.service.request("POST", path, caller.pair.bearer, json_body=dry)
            assert account.keys[caller.mode].api_key in answer.json["api_keys"]
            require_no_trace(world, caller, answer, path)


@pytest.mark.parametrize("name", CALLERS)
def test_no_cursor_leads_out_of_reach(world: World, name: str) -> None:
    """Cursors of other callers, of every position, and of another listing."""
    caller = world.callers[name]
    hidden = [api_key for api_key, _ in world.out_of_reach(caller, writing=False)]
    # The first item is the one before the position.
    positions = [0, 2**63 - 1, *(world.numbers[api_key] + 1 for api_key in hidden)]
    for operation, references in REFERENCES.items():
        if "cursor" not in references:
            continue
        of_accounts = operation[1] == "/v1/accounts"
        own = CursorKind.ACCOUNTS if of_accounts else CursorKind.CREDENTIALS
        foreign = CursorKind.CREDENTIALS if of_accounts else CursorKind.ACCOUNTS
        for position in positions:
            cursor = write_cursor(own, position)
            answer = call(world, caller, operation, "cursor", str(cursor))
            assert answer.status == (403 if of_accounts and not caller.accounts else 200)
            require_no_trace(world, caller, answer, (operation, position))
            forged = call(world, caller, operation, "cursor", str(write_cursor(foreign, position)))
            if answer.status == 200:
                assert (forged.status, forged.code) == (400, "invalid_field")
