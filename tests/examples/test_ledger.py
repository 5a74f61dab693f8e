"""The ledger: money moves once or not at all, and the balances always sum to zero."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.support.examples.running import RunningExample
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, Pair

NUMBERS = count()
LARGEST = 10**15


class Caller:
    """A client of the ledger with a key, which sends the pair of headers."""

    def __init__(self, example: RunningExample, pair: Pair) -> None:
        self.example = example
        self._headers = pair.headers

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer | None:
        return self.example.answer(method, path, {**self._headers, **headers}, body)

    def get(self, method: str, path: str, body: object = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer is not None
        assert answer.status in (200, 201), answer
        return answer.json

    def transfer(self, key: str, source: str, destination: str, amount: object) -> Answer | None:
        body = {"from": source, "to": destination, "amount": amount}
        return self.ask("POST", "/transfers", body, **{"Idempotency-Key": key})

    def balances(self) -> dict[str, int]:
        """All balances; they must sum to zero."""
        shown = self.get("GET", "/accounts")
        balances = {one["name"]: one["balance"] for one in shown["accounts"]}
        assert shown["total"] == sum(balances.values()) == 0
        return balances


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExample]:
    directory = tmp_path_factory.mktemp("ledger") / "ledger"
    with RunningExample("ledger", directory) as running:
        yield running


@pytest.fixture(scope="module")
def caller(example: RunningExample) -> Caller:
    return Caller(example, example.service.create_key("live", "--scope", "ledger:write"))


def refused(answer: Answer | None) -> tuple[int, str]:
    assert answer is not None
    return answer.status, answer.code


def test_callers_and_modes(example: RunningExample, caller: Caller) -> None:
    anonymous = example.answer("GET", "/accounts")
    assert refused(anonymous) == (401, "UNAUTHORIZED")
    reader = Caller(example, example.service.create_key("live", "--scope", "ledger:read"))
    assert refused(reader.ask("PUT", "/accounts/mine", {})) == (403, "INSUFFICIENT_SCOPE")
    tester = Caller(example, example.service.create_key("test", "--scope", "ledger:write"))
    caller.get("PUT", "/accounts/only-live", {})
    assert "only-live" in reader.balances()
    assert tester.balances() == {}
    assert refused(tester.ask("GET", "/accounts/only-live")) == (404, "ACCOUNT_NOT_FOUND")


def test_an_account_is_opened_once(caller: Caller) -> None:
    statuses = [caller.ask("PUT", "/accounts/once", {}) for _ in range(2)]
    assert [one and one.status for one in statuses] == [201, 200]
    again = caller.ask("PUT", "/accounts/once", {"may_overdraw": True})
    assert refused(again) == (409, "ACCOUNT_EXISTS")
    for name in ("UPPER", "a" * 65, "with%20space"):
        assert refused(caller.ask("PUT", f"/accounts/{name}", {})) == (400, "INVALID_FIELD")


@pytest.mark.parametrize("amount", [0, -1, True, 1.0, "1", None, LARGEST + 1])
def test_wrong_amounts(caller: Caller, amount: object) -> None:
    answer = caller.transfer("wrong", "nobody", "no-one", amount)
    assert refused(answer) == (400, "INVALID_FIELD")
    assert answer is not None
    assert answer.json["error"]["message"].startswith("amount: must be an integer")


def test_wrong_transfers(caller: Caller) -> None:
    caller.get("PUT", "/accounts/known", {})
    assert refused(caller.transfer("t", "known", "known", 1)) == (400, "INVALID_FIELD")
    assert refused(caller.transfer("t", "known", "gone", 1)) == (404, "ACCOUNT_NOT_FOUND")
    assert refused(caller.transfer("t", "gone", "known", 1)) == (404, "ACCOUNT_NOT_FOUND")
    assert refused(caller.ask("POST", "/transfers", [1])) == (400, "INVALID_REQUEST")
    body = {"from": "known", "to": "gone", "amount": 1}
    for key in ("", "with space", "k" * 65):
        answer = caller.ask("POST", "/transfers", body, **{"Idempotency-Key": key})
        assert refused(answer) == (400, "INVALID_REQUEST")


# ---- A model of the book


class LedgerMachine(RuleBasedStateMachine):
    """Random transfers, compared with balances in a dictionary."""

    caller: Caller
    accounts = Bundle("accounts")
    transfers = Bundle("transfers")

    def __init__(self) -> None:
        super().__init__()
        # Examples share the book, and each has accounts of its own.
        self.prefix = f"model-{next(NUMBERS)}"
        self.balances: dict[str, int] = {}
        self.may_overdraw: set[str] = set()
        self.keys = (f"{self.prefix}-{number}" for number in count())

    @initialize(target=accounts)
    def open_bank(self) -> Any:
        return multiple(self.open_account(True), self.open_account(False))

    @rule(target=accounts, may_overdraw=st.booleans())
    def open_another(self, may_overdraw: bool) -> str:
        return self.open_account(may_overdraw)

    def open_account(self, may_overdraw: bool) -> str:
        name = f"{self.prefix}-{len(self.balances)}"
        self.caller.get("PUT", f"/accounts/{name}", {"may_overdraw": may_overdraw})
        self.balances[name] = 0
        if may_overdraw:
            self.may_overdraw.add(name)
        return name

    @rule(
        target=transfers,
        source=accounts,
        destination=accounts,
        amount=st.integers(1, 100) | st.just(LARGEST),
    )
    def transfer(self, source: str, destination: str, amount: int) -> Any:
        if source == destination:
            return multiple()
        key = next(self.keys)
        answer = self.caller.transfer(key, source, destination, amount)
        if source not in self.may_overdraw and self.balances[source] < amount:
            assert refused(answer) == (409, "INSUFFICIENT_FUNDS")
            return multiple()
        assert answer is not None
        assert answer.status == 201
        self.balances[source] -= amount
        self.balances[destination] += amount
        return key, source, destination, amount, answer.json["number"]

    @rule(made=transfers)
    def repeat(self, made: tuple[str, str, str, int, int]) -> None:
        key, source, destination, amount, number = made
        answer = self.caller.transfer(key, source, destination, amount)
        assert answer is not None
        assert (answer.status, answer.json["number"]) == (200, number)

    @rule(made=transfers)
    def use_a_key_for_something_else(self, made: tuple[str, str, str, int, int]) -> None:
        key, source, destination, amount, _ = made
        answer = self.caller.transfer(key, destination, source, amount)
        assert refused(answer) == (422, "IDEMPOTENCY_KEY_REUSED")

    @invariant()
    def balances_agree(self) -> None:
        found = self.caller.balances()
        assert {name: found[name] for name in self.balances} == self.balances


def test_random_transfers(caller: Caller, long: bool) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.caller = caller
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=200 if long else 6, stateful_step_count=15, deadline=None),
    )


# ---- Two processes at once, and kills


class Clerk(threading.Thread):
    """A client that makes transfers at random, and sends each until it is answered."""

    def __init__(self, caller: Caller, number: int, names: list[str], transfers: int) -> None:
        super().__init__()
        self._caller = caller
        self._random = random.Random(number)
        self._number, self._names, self._transfers = number, names, transfers
        self.answered = 0
        self.made: list[tuple[str, str, str, int, int]] = []

    def run(self) -> None:
        for turn in range(self._transfers):
            source, destination = self._random.sample(self._names, 2)
            order = (
                f"clerk-{self._number}-{turn}",
                source,
                destination,
                self._random.randint(1, 9),
            )
            answer = self._caller.transfer(*order)
            while answer is None or answer.status >= 500:
                time.sleep(0.02)
                answer = self._caller.transfer(*order)
            if answer.status in (200, 201):
                self.made.append((*order, answer.json["number"]))
            else:
                assert refused(answer) == (409, "INSUFFICIENT_FUNDS")
            self.answered += 1


@pytest.mark.attack
@pytest.mark.timeout(300)
def test_no_money_appears_or_is_lost(example: RunningExample, caller: Caller, long: bool) -> None:
    """While two workers transfer at once, and are killed."""
    names = [f"race-{number}" for number in range(4)]
    for name in names:
        caller.get("PUT", f"/accounts/{name}", {"may_overdraw": name == names[0]})
    clerks = [Clerk(caller, number, names, 2_000 if long else 30) for number in range(4)]

    def answered() -> int:
        return sum(one.answered for one in clerks)

    def wait_for(number: int) -> None:
        wait_until(
            lambda: answered() >= number or not any(one.is_alive() for one in clerks),
            "further transfers",
        )

    for clerk in clerks:
        clerk.start()
    kills = 40 if long else 3
    for kill in range(kills):
        wait_for(answered() + 10)
        if kill == kills // 2:
            example.kill()
            example.start()
        else:
            example.kill_worker()
    for clerk in clerks:
        clerk.join()
    made = [one for clerk in clerks for one in clerk.made]
    assert answered() == sum(one._transfers for one in clerks)
    assert len({number for *_, number in made}) == len(made)
    expected: Counter[str] = Counter(dict.fromkeys(names, 0))
    for _, source, destination, amount, _ in made:
        expected[source] -= amount
        expected[destination] += amount
    balances = caller.balances()
    assert {name: balances[name] for name in names} == dict(expected)
    assert all(balances[name] >= 0 for name in names[1:])
    for key, source, destination, amount, number in made[:: 1 if long else 10]:
        again = caller.transfer(key, source, destination, amount)
        assert again is not None
        assert (again.status, again.json["number"]) == (200, number)
