"""Accounts with many keys: a change takes effect on all of them, and on no other account's."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from latchkey.box.segment import changing_keys
from latchkey.config import load_settings
from tests.support.api.accounts import change_account, key_for, manager, new_account
from tests.support.faults.load import under_load
from tests.support.faults.service_processes import alone, wait_until, workers
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack

ROUNDS = 500
"""The number of changes of each kind, in a full run."""
MANY = 100_000
"""The keys of the account in a full run."""
_LONGEST = 3.0
"""Seconds in which a change of the account is answered, in a full run."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Four workers."""
    directory = tmp_path_factory.mktemp("accounts")
    with Service(directory, LATCHKEY_WORKERS="4", LATCHKEY_FAILURE_LIMIT="off") as service:
        yield service


@pytest.fixture(scope="module")
def operator(box: Service) -> Pair:
    return manager(box)


def fill(box: Service, account: str, keys: int) -> None:
    """Give an account further keys in both modes, like an import."""
    rows = [
        (f"ak_{mode}_{number:022}", secrets.token_bytes(32), account, mode)
        for number in range(keys // 2)
        for mode in ("live", "test")
    ]
    with closing(sqlite3.connect(box.database, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO credential"
            " (api_key, secret_hash, derivation_id, account_id, mode, scopes, created_at)"
            " VALUES (?, ?, 'none', ?, ?, '*', 0)",
            rows,
        )
        database.execute("COMMIT")


def asked_of_each(box: Service, pairs: list[Pair]) -> set[int]:
    """The statuses that each worker answers to these keys."""
    statuses = set()
    for pid in workers(box):
        with alone(box, pid):
            statuses |= {box.get("/v1/account", pair.bearer).status for pair in pairs}
    return statuses


def selects(box: Service) -> float:
    return box.metric("latchkey_lookups_total", level="store", result="select")


def generations(box: Service, lookups: list[str]) -> list[int]:
    """The generations of these lookup keys in the service's memory."""
    with changing_keys(load_settings(box.settings)) as shared:
        return [shared.stripes.generation(lookup) for lookup in lookups]


def test_an_account_with_many_keys(box: Service, operator: Pair, long: bool) -> None:
    """Disabling and enabling it is answered soon, and other accounts' hits stay hits."""
    account = new_account(box, operator)["id"]
    keys = MANY if long else 1_000
    fill(box, account, keys)
    own = [key_for(box, operator, account) for _ in range(3)]
    # Each in an account of its own.
    strangers = {}
    for _ in range(8):
        other = new_account(box, operator)["id"]
        strangers[other] = key_for(box, operator, other)
    of_instance = box.issue()
    strangers[box.get("/v1/account", of_instance.bearer).json["id"]] = of_instance
    lookups = [*strangers, *(pair.api_key[3:] for pair in strangers.values())]
    for status, answer in (("disabled", 401), ("active", 200)) * (3 if long else 1):
        before = generations(box, lookups)
        everyone = [*own, *strangers.values()]
        asked_of_each(box, everyone)
        read = selects(box)
        asked_of_each(box, list(strangers.values()))
        assert selects(box) == read
        began = time.monotonic()
        change_account(box, operator, account, status=status)
        took = time.monotonic() - began
        assert not long or took < _LONGEST
        # A key shares its stripe with others: one that has the stripe of the account is read again.
        after = generations(box, lookups)
        moved = {one for one, old, new in zip(lookups, before, after, strict=True) if old != new}
        kept = [
            pair for other, pair in strangers.items() if moved.isdisjoint({other, pair.api_key[3:]})
        ]
        assert kept
        read = selects(box)
        assert asked_of_each(box, kept) == {200}
        assert selects(box) == read
        assert asked_of_each(box, own) == {answer}
    used = box.get(f"/v1/accounts/{account}/usage", operator.bearer).json
    live = [box.usage(pair) for pair in own]
    assert used["requests"] == sum(usage["requests"] for usage in live)
    assert used["refusals"]["disabled"] == sum(usage["refusals"]["disabled"] for usage in live)
    path = f"/v1/accounts/{account}/revoke_keys"
    done = box.request("POST", path, operator.bearer)
    assert done.json["revoked"] == keys // 2 + len(own)
    assert asked_of_each(box, own) == {401}


End = Callable[[Service, Pair, str], None]


def by_disabling(box: Service, operator: Pair, account: str) -> None:
    change_account(box, operator, account, status="disabled")


def by_revoking(box: Service, operator: Pair, account: str) -> None:
    path = f"/v1/accounts/{account}/revoke_keys"
    done = box.request("POST", path, operator.bearer)
    assert (done.status, done.json["revoked"]) == (200, 1)


@pytest.mark.parametrize("end", [by_disabling, by_revoking])
def test_no_request_passes_after_the_end_of_an_account(
    box: Service, operator: Pair, long: bool, end: End
) -> None:
    """Clients send requests constantly; those after the end of its keys must be refused."""
    account = new_account(box, operator)["id"]
    parked = key_for(box, operator, new_account(box, operator)["id"])
    pair = key_for(box, operator, account)
    current = [pair]
    ended: dict[str, float] = {}
    with under_load(box, lambda: current[0], pause=0.001 if long else 0.01) as load:
        for _ in range(ROUNDS if long else 5):
            wait_until(lambda pair=pair: pair.api_key in load.last_good, "a 200")  # type: ignore[misc]
            end(box, operator, account)
            ended[pair.api_key] = time.monotonic()
            assert {box.get("/v1/account", pair.bearer).status for _ in range(4)} == {401}
            current[0] = parked
            # A request that began before would be admitted again when the account is enabled.
            load.await_others()
            if end is by_disabling:
                # Enabling takes effect before the answer, too.
                change_account(box, operator, account, status="active")
                assert {box.get("/v1/account", pair.bearer).status for _ in range(4)} == {200}
            pair = key_for(box, operator, account)
            current[0] = pair
    # Now the last answers have arrived.
    assert [key for key, moment in ended.items() if load.last_good[key] >= moment] == []
    assert set(load.statuses) <= {200, 401}
    assert load.broken == 0
