"""Requests of a key that loses its authority while they wait for the database.

The test holds the write lock of the database, so that an authenticated request waits. The same
transaction removes the authority of the key, like a revocation by its owner.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.support.api.contract import EXPIRED, INSUFFICIENT_SCOPE, INVALID, REVOKED
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, Pair, Service

Act = Callable[[Service, Pair, Pair], Answer]

_CREDENTIALS = (
    "SELECT id, api_key, name, scopes, expires_at, revoked_at, rotated_to FROM credential"
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


ACTS: list[Act] = [create, change, rotate, revoke, revoke_by_pair, rotate_itself, revoke_itself]
LOSSES = {
    "revoked": ("UPDATE credential SET revoked_at = :now WHERE api_key = :key", REVOKED),
    "expired": ("UPDATE credential SET expires_at = :now - 1 WHERE api_key = :key", EXPIRED),
    "deleted": ("DELETE FROM credential WHERE api_key = :key", INVALID),
    "narrowed": (
        "UPDATE credential SET scopes = 'account:read' WHERE api_key = :key",
        INSUFFICIENT_SCOPE,
    ),
}


def contents(database: sqlite3.Connection) -> list[list[Any]]:
    """All rows that a change of keys writes."""
    tables = (_CREDENTIALS, "SELECT * FROM audit", "SELECT * FROM invalidation")
    return [database.execute(query).fetchall() for query in tables]


@contextmanager
def waiting(
    service: Service, act: Act, thief: Pair, victim: Pair
) -> Iterator[tuple[sqlite3.Connection, Future[Answer]]]:
    """An authenticated request that waits, and the transaction that it waits for."""
    with (
        ThreadPoolExecutor(1) as pool,
        closing(sqlite3.connect(service.database, isolation_level=None)) as database,
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


@pytest.mark.parametrize("loss", ["revoked", "expired", "narrowed"])
def test_a_refused_caller_is_not_cached_with_its_former_authority(
    service: Service, loss: str
) -> None:
    """A process removed the authority of the caller, and died before publishing that."""
    thief, victim = service.issue(), service.issue()
    statement, row = LOSSES[loss]
    assert service.get("/v1/account", thief.bearer).status == 200
    with closing(sqlite3.connect(service.database, isolation_level=None)) as database:
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
