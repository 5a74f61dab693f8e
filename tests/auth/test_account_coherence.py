"""A change of an account takes effect on all of its keys; those of other accounts stay cached.

The ticket of an entry is the sum of two generations, and the account is known after the SELECT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import permutations
from pathlib import Path

import pytest

from fastcache.shared import Stripes
from latchkey.box.counter_names import Count
from latchkey.box.replay import Replay
from latchkey.box.shared import STRIPES, SharedState, Word
from latchkey.check.cache_levels import Backend
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.accounts import AccountChange
from latchkey.credentials.publishing import Publisher
from tests.support.audited import TESTER
from tests.support.auth.account_steps import Scene, Step, faults
from tests.support.auth.shared_box import SharedBox, entrance
from tests.support.auth.worker import (
    Gate,
    Running,
    Worker,
    api_key,
    await_waiting,
    derive,
    presented,
)

pytestmark = pytest.mark.attack


# ---- Every order of the steps of a change and of a check


@pytest.mark.parametrize("cached", [False, True], ids=["miss", "hit"])
@pytest.mark.parametrize("enabled", [True, False], ids=["disabled", "enabled"])
def test_no_order_of_steps_keeps_an_old_state(
    backend: Backend, enabled: bool, cached: bool
) -> None:
    def change(scene: Scene) -> Sequence[Step]:
        return [scene.commit, *scene.publication()]

    assert faults(backend, enabled, cached, change) == []


@pytest.mark.parametrize(
    "order",
    [*(order for order in permutations(range(3)) if order != (0, 1, 2)), (0, 1), (0, 2), (0,)],
    ids=lambda order: " ".join(("commit", "word", "stripe")[step] for step in order),
)
def test_any_other_change_is_found_to_be_wrong(order: tuple[int, ...]) -> None:
    """Each step is needed, in its place: otherwise the enumeration would prove nothing."""

    def change(scene: Scene) -> Sequence[Step]:
        steps = [scene.commit, *scene.publication()]
        assert len(steps) == 3
        return [steps[step] for step in order]

    assert faults("fastcache", True, False, change) != []


# ---- Flights


def stopped_after_select(worker: Worker, secret: str) -> tuple[Running, Gate]:
    gate = Gate()
    thread = Running(lambda: worker.outcome(secret), start=False)
    worker.reads.after = gate.only(thread)
    thread.start()
    gate.await_arrival()
    return thread, gate


def test_a_newcomer_does_not_join_a_flight_from_before_the_change(worker: Worker) -> None:
    account = worker.new_account()
    secret = worker.issue(account=account)
    leader, gate = stopped_after_select(worker, secret)
    waiters = [Running(lambda: worker.outcome(secret)) for _ in range(3)]
    await_waiting(waiters, "fly")
    worker.disable(account)
    newcomers = [Running(lambda: worker.outcome(secret)) for _ in range(3)]
    assert [one.value() for one in newcomers] == ["DisabledCredential"] * 3
    gate.open()
    # The leader reads again, because an account has changed.
    assert [one.value() for one in (leader, *waiters)] == ["DisabledCredential"] * 4
    worker.enable(account)
    assert worker.outcome(secret) == "ok"


def test_a_change_of_another_account_during_a_read_costs_one_more(worker: Worker) -> None:
    secret = worker.issue(account=worker.new_account())
    other = worker.new_account()
    check, gate = stopped_after_select(worker, secret)
    worker.disable(other)
    gate.open()
    assert check.value() == "ok"
    assert worker.reads.count == 2
    assert worker.authenticator.counters.value(Count.STORE_SELECT) == 2
    assert worker.reads_of(lambda: worker.authenticate(secret)) == (0 if worker.cached else 1)


def test_an_account_that_changes_at_every_read_delays_no_check_forever(worker: Worker) -> None:
    account = worker.new_account()
    secret = worker.issue(account=account)
    worker.reads.after = lambda: worker.authenticator.invalidate(account)
    assert worker.outcome(secret) == "ok"
    assert worker.reads.count == 2


def test_a_credential_whose_account_is_another_at_each_read(worker: Worker) -> None:
    """As after the database was replaced: the ticket is that of the account that was read last."""
    secret = worker.issue()
    accounts = [f"acct_{number:022}" for number in range(3)]

    def move() -> None:
        if accounts:
            worker.reads.of_account(secret, account_id=accounts.pop(0))
            worker.authenticator.invalidate("acct_of_somebody_else")

    worker.reads.before = move
    principal = worker.authenticate(secret)
    assert principal.account_id == "acct_0000000000000000000002"
    worker.authenticator.invalidate(principal.account_id)
    assert worker.reads_of(lambda: worker.authenticate(secret)) == 1


def test_an_unknown_key_depends_on_no_account(worker: Worker) -> None:
    secret = derive(worker.keys.newest)
    assert worker.outcome(secret) == "InvalidCredential"
    worker.disable(worker.new_account())
    assert worker.reads_of(lambda: worker.outcome(secret)) == (0 if worker.cached else 1)


# ---- All caches


def in_python(worker: Worker) -> Callable[[str], str]:
    """The same as ``entrance``, without compiled code."""
    return lambda secret: "ok" if worker.outcome(secret) == "ok" else "401"


Entrance = Callable[[Worker], Callable[[str], str]]
both_paths = pytest.mark.parametrize(
    "entrance_of", [entrance, in_python], ids=["compiled", "plain"]
)


def stripes_apart(*keys: str) -> bool:
    """Whether no two of these keys have the same stripe."""
    stripes = Stripes(STRIPES)
    for key in keys:
        if stripes.generation(key):
            return False
        stripes.invalidate(key)
    return True


class Customers:
    """Two accounts with two keys each, whose stripes all differ."""

    def __init__(self, worker: Worker) -> None:
        while True:
            self.changed, self.other = worker.new_account(), worker.new_account()
            self.changed_keys, self.other_keys = (
                [worker.issue(account=account) for _ in range(2)]
                for account in (self.changed, self.other)
            )
            secrets = self.changed_keys + self.other_keys
            lookups = [presented(secret).lookup for secret in secrets]
            if stripes_apart(self.changed, self.other, *lookups):
                return


@both_paths
def test_a_change_invalidates_all_keys_of_one_account_in_all_caches(
    box: SharedBox, entrance_of: Entrance
) -> None:
    """The table of recent hits, the caches of two workers, and the one between them."""
    # As after a restart: in the memory of these workers, nothing has changed yet.
    with closing(Worker(box.directory / "latchkey.db")) as former:
        customers = Customers(former)
    first, second = box.worker(), box.worker()
    checks = {worker: entrance_of(worker) for worker in (first, second)}
    secrets = customers.changed_keys + customers.other_keys
    # Three times: read, admitted from a cache, and admitted from the table of recent hits.
    for check in checks.values():
        assert [check(secret) for secret in secrets * 3] == ["ok"] * 12

    def reads_of(keys: Sequence[str], expected: str) -> list[str]:
        """The keys that the workers read again, when each checks these ones twice."""
        for worker in checks:
            worker.reads.keys.clear()
        for worker in (second, first, second, first):
            assert [checks[worker](secret)[:3] for secret in keys] == [expected[:3]] * len(keys)
        return sorted(first.reads.keys + second.reads.keys)

    for change, expected in ((first.disable, "401"), (second.enable, "ok")):
        change(customers.changed)
        assert reads_of(customers.other_keys, "ok") == []
        # One of the workers reads each key, for both.
        assert reads_of(customers.changed_keys, expected) == sorted(
            map(api_key, customers.changed_keys)
        )
    box.attach().invalidate(customers.other)
    assert reads_of(customers.changed_keys, "ok") == []
    assert reads_of(customers.other_keys, "ok") == sorted(map(api_key, customers.other_keys))


@both_paths
def test_a_replayed_change_invalidates_all_keys_of_the_account(
    box: SharedBox, entrance_of: Entrance
) -> None:
    first, second = box.worker(), box.worker()
    checks = [entrance_of(worker) for worker in (first, second)]
    shared = box.attach()
    replay = Replay(first.store.invalidations, shared)
    customers = Customers(first)
    replay.run()
    for check in checks:
        for secret in customers.changed_keys * 3 + customers.other_keys * 3:
            assert check(secret) == "ok"
    before = shared.words.value(Word.ACCOUNTS_CHANGED)
    # Like a process that was killed after its commit.
    unpublished = AccountService(first.store.accounts, Publisher(first.store.audit, _nothing))
    disabled = AccountChange(status="disabled")
    unpublished.change(customers.changed, disabled, None, by=TESTER)
    assert [check(customers.changed_keys[0]) for check in checks] == ["ok"] * 2
    replay.run()
    assert shared.words.value(Word.ACCOUNTS_CHANGED) == before + 1
    for worker in (first, second):
        worker.reads.keys.clear()
    for check in checks:
        assert [check(secret)[:3] for secret in customers.changed_keys] == ["401"] * 2
        assert [check(secret) for secret in customers.other_keys] == ["ok"] * 2
    # One worker read each key of the changed account.
    assert sorted(first.reads.keys + second.reads.keys) == sorted(
        map(api_key, customers.changed_keys)
    )


def _nothing(lookup: str) -> None:
    pass


def test_a_key_changes_no_account(box: SharedBox) -> None:
    """Only accounts move the word, so a change of a key makes no other check read twice."""
    worker = box.worker()
    words = worker.authenticator.shared.words
    secret = worker.issue()
    worker.revoke(secret)
    worker.authenticator.invalidate("ab" * 32)
    assert words.value(Word.ACCOUNTS_CHANGED) == 0
    worker.new_account()
    worker.disable(worker.new_account())
    assert words.value(Word.ACCOUNTS_CHANGED) >= 1


@both_paths
def test_generations_whose_sum_wraps_around(tmp_path: Path, entrance_of: Entrance) -> None:
    """As in damaged memory: their sum wraps around, in the same way in both languages."""
    shared = SharedState.private()
    shared.stripes = Stripes(STRIPES, memory=bytearray(b"\xc0" * 8 * STRIPES))
    with closing(Worker(tmp_path / "latchkey.db", shared=shared, real_time=True)) as worker:
        account = worker.new_account()
        secret = worker.issue(account=account)
        check = entrance_of(worker)
        for change, expected in ((worker.disable, "401"), (worker.enable, "ok")):
            change(account)
            for _ in range(3):
                assert check(secret)[:3] == expected[:3]
        reads = worker.reads.count
        assert worker.outcome(secret) == "ok"
        assert worker.reads.count == reads
