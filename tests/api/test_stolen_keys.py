"""Requests of a key that loses its authority while they wait for the database.

The test holds the write lock of the database, so that an authenticated request waits. The same
transaction removes the authority of the key, like a revocation by its owner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.api.accounts import key_for, manager, new_account
from tests.support.api.contract import (
    CREDENTIAL_NOT_FOUND,
    EXPIRED,
    INSUFFICIENT_SCOPE,
    INVALID,
    REVOKED,
    Row,
)
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, Pair, Service
from tests.support.service_database import Connected

Act = Callable[[Service, Pair, Pair], Answer]

DISABLED = Row(401, "authentication_error", "UNAUTHORIZED", "key_disabled", "API key is disabled")
ACCOUNT_NOT_FOUND = Row(404, "not_found_error", "ACCOUNT_NOT_FOUND")

_CREDENTIALS = (
    "SELECT id, account_id, api_key, name, scopes, expires_at, revoked_at, rotated_to, conditions"
    " FROM credential ORDER BY id"
)


def create(service: Service, thief: Pair, victim: Pair) -> Answer:
    return service.request("POST", "/v1/api_keys", thief.bearer, json_body={"name": "left behind"})


def change(service: Service, thief: Pair, victim: Pair) -> Answer:
    path = f"/v1/api_keys/{victim.api_key}"
    return service.request("PATCH", path, thief.bearer, json_body={"scopes": ["account:read"]})


def rotate(service: Service, thief: Pair, victim: Pair) -> Answer:
    return service.request("POST", f"/v1/api_keys/{victim.api_key}/rotate", thief.bearer)


def revoke(service: Service, thief: Pair, victim: Pair) -> Answer:
    return service.request("DELETE", f"/v1/api_keys/{victim.api_key}", thief.bearer)


def revoke_by_pair(service: Service, thief: Pair, victim: Pair) -> Answer:
    return service.request("DELETE", f"/credentials/{victim.api_key}", thief.headers)


def rotate_itself(service: Service, thief: Pair, victim: Pair) -> Answer:
    return rotate(service, thief, thief)


def revoke_itself(service: Service, thief: Pair, victim: Pair) -> Answer:
    return revoke(service, thief, thief)


def create_account(service: Service, thief: Pair, victim: Pair) -> Answer:
    return service.request("POST", "/v1/accounts", thief.bearer, json_body={"name": "left behind"})


def rename_account(service: Service, thief: Pair, victim: Pair) -> Answer:
    path = f"/v1/accounts/{account_of(service, victim)}"
    return service.request("PATCH", path, thief.bearer, json_body={"name": "changed"})


def disable_account(service: Service, thief: Pair, victim: Pair) -> Answer:
    path = f"/v1/accounts/{account_of(service, victim)}"
    return service.request("PATCH", path, thief.bearer, json_body={"status": "disabled"})


def revoke_keys(service: Service, thief: Pair, victim: Pair) -> Answer:
    path = f"/v1/accounts/{account_of(service, victim)}/revoke_keys"
    return service.request("POST", path, thief.bearer)


def create_for_account(service: Service, thief: Pair, victim: Pair) -> Answer:
    account = account_of(service, victim)
    body = {"name": "left behind", "account": account, "scopes": ["account:read"]}
    return service.request("POST", "/v1/api_keys", thief.bearer, json_body=body)


def change_of_account(service: Service, thief: Pair, victim: Pair) -> Answer:
    """A change of another account's key."""
    return change(service, thief, victim)


def account_of(service: Service, pair: Pair) -> str:
    return str(service.get("/v1/account", pair.bearer).json["id"])


ACCOUNT_ACTS: list[Act] = [
    *(create_account, rename_account, disable_account, revoke_keys),
    *(create_for_account, change_of_account),
]
ACTS: list[Act] = [create, change, rotate, revoke, revoke_by_pair, rotate_itself, revoke_itself]
LOSSES = {
    "revoked": ("UPDATE credential SET revoked_at = :now WHERE api_key = :key", REVOKED),
    "expired": ("UPDATE credential SET expires_at = :now - 1 WHERE api_key = :key", EXPIRED),
    "deleted": ("DELETE FROM credential WHERE api_key = :key", INVALID),
    "disabled": (
        """UPDATE credential SET conditions = '{"enabled":false}' WHERE api_key = :key""",
        DISABLED,
    ),
    "narrowed": (
        "UPDATE credential SET scopes = 'account:read' WHERE api_key = :key",
        INSUFFICIENT_SCOPE,
    ),
}


def contents(database: Connected) -> list[list[Any]]:
    """All rows that a change of keys writes."""
    tables = (
        _CREDENTIALS,
        *(f"SELECT * FROM {name} ORDER BY 1" for name in ("account", "audit", "invalidation")),
    )
    return [database.execute(query).fetchall() for query in tables]


@contextmanager
def waiting(
    service: Service, act: Act, thief: Pair, victim: Pair
) -> Iterator[tuple[Connected, Future[Answer]]]:
    """An authenticated request that waits, and the transaction that it waits for."""
    with (
        ThreadPoolExecutor(1) as pool,
        service.rows.connected() as database,
    ):
        database.execute("BEGIN IMMEDIATE")
        answering = pool.submit(act, service, thief, victim)
        wait_until(lambda: service.usage(thief)["requests"] == 1, "the request to be let in")
        yield database, answering


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_request_that_waits_while_its_key_loses_authority(
    service: Service, act: Act, loss: str
) -> None:
    thief, victim = service.issue(), service.issue()
    statement, row = LOSSES[loss]
    with waiting(service, act, thief, victim) as (database, answering):
        database.execute(statement, {"now": int(time.time() * 1000), "key": thief.api_key})
        before = contents(database)
        database.execute("COMMIT")
        answer = answering.result()
        after = contents(database)
    if (act, loss) == (revoke_itself, "narrowed"):
        # Needs no scope.
        assert answer.status == 200
        return
    assert after == before
    bearer = act is not revoke_by_pair
    scope = "credentials:write" if loss == "narrowed" else None
    row.check(answer, "bearer" if bearer else "pair", bearer=bearer, scope=scope)


@pytest.fixture(scope="module")
def operator(service: Service) -> Pair:
    """A key that manages all accounts."""
    return manager(service)


@pytest.mark.parametrize("act", ACCOUNT_ACTS)
@pytest.mark.parametrize("loss", [*LOSSES, "no longer a manager"])
def test_a_manager_of_accounts_loses_authority(
    service: Service, operator: Pair, act: Act, loss: str
) -> None:
    """It keeps neither its own rights nor those on other accounts."""
    victim = key_for(service, operator, new_account(service, operator)["id"])
    thief = manager(service)
    statement, row = LOSSES.get(
        loss, ("UPDATE credential SET scopes = '*' WHERE api_key = :key", INSUFFICIENT_SCOPE)
    )
    of_keys = act in (create_for_account, change_of_account)
    scope = "credentials:write" if of_keys else "accounts:write"
    if of_keys and loss == "no longer a manager":
        row = ACCOUNT_NOT_FOUND if act is create_for_account else CREDENTIAL_NOT_FOUND
    with waiting(service, act, thief, victim) as (database, answering):
        database.execute(statement, {"now": int(time.time() * 1000), "key": thief.api_key})
        before = contents(database)
        database.execute("COMMIT")
        answer = answering.result()
        after = contents(database)
    assert after == before
    row.check(answer, "bearer", bearer=True, scope=scope if row is INSUFFICIENT_SCOPE else None)


@pytest.mark.parametrize("act", ACTS)
def test_the_account_of_a_key_is_disabled_while_it_waits(
    service: Service, operator: Pair, act: Act
) -> None:
    account = new_account(service, operator)["id"]
    thief, victim = key_for(service, operator, account), key_for(service, operator, account)
    with waiting(service, act, thief, victim) as (database, answering):
        database.execute(
            "UPDATE account SET disabled_at = ? WHERE id = ?", [int(time.time() * 1000), account]
        )
        before = contents(database)
        database.execute("COMMIT")
        answer = answering.result()
        after = contents(database)
    assert after == before
    bearer = act is not revoke_by_pair
    DISABLED.check(answer, "bearer" if bearer else "pair", bearer=bearer)


def test_the_account_of_a_new_key_is_erased_while_it_waits(
    service: Service, operator: Pair
) -> None:
    account = new_account(service, operator)["id"]
    victim, thief = key_for(service, operator, account), manager(service)
    with waiting(service, create_for_account, thief, victim) as (database, answering):
        database.execute(
            "UPDATE account SET erased_at = ? WHERE id = ?", [int(time.time() * 1000), account]
        )
        before = contents(database)
        database.execute("COMMIT")
        answer = answering.result()
        after = contents(database)
    assert after == before
    ACCOUNT_NOT_FOUND.check(answer, "bearer", bearer=True)


@pytest.mark.parametrize("loss", ["revoked", "expired", "narrowed"])
def test_a_refused_caller_is_not_cached_with_its_former_authority(
    service: Service, loss: str
) -> None:
    """A process removed the authority of the caller, and died before publishing that."""
    thief, victim = service.issue(), service.issue()
    statement, row = LOSSES[loss]
    assert service.get("/v1/account", thief.bearer).status == 200
    with service.rows.connected() as database:
        database.execute(statement, {"now": int(time.time() * 1000), "key": thief.api_key})
    assert service.get("/v1/account", thief.bearer).status == 200
    refused = create(service, thief, victim)
    assert refused.status == row.status
    answer = service.get("/v1/api_keys", thief.bearer)
    assert (answer.status, answer.code) == (row.status, row.code("bearer"))


def test_inherited_terms_are_those_of_the_key_in_the_transaction(service: Service) -> None:
    """A key whose scopes are reduced while it creates another key passes on the reduced ones."""
    thief = service.issue(scopes=["credentials:write", "account:write"])
    with waiting(service, create, thief, thief) as (database, answering):
        database.execute(
            "UPDATE credential SET scopes = 'credentials:write' WHERE api_key = ?", [thief.api_key]
        )
        database.execute("COMMIT")
        answer = answering.result()
    assert answer.status == 201
    assert answer.json["scopes"] == ["credentials:write"]
