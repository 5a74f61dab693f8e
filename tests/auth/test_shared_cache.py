"""The cache between workers, and its coherence: two authenticators with one real segment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from latchkey.box.counter_names import Count, Use
from latchkey.check._entry import DIGEST_AT
from latchkey.credentials.derivation import DerivationKey
from latchkey.errors import StoreError
from tests.support.audited import TESTER
from tests.support.auth.shared_box import SharedBox, through
from tests.support.auth.worker import (
    Gate,
    Running,
    Worker,
    api_key,
    await_waiting,
    derive,
    forge,
    presented,
)

Check = Callable[[Worker, str], str]


def in_python(worker: Worker, secret: str) -> str:
    """The same as ``through``, without compiled code."""
    return "ok" if (came_to := worker.outcome(secret)) == "ok" else f"401 {came_to}"


@pytest.fixture(params=[through, in_python], ids=["compiled", "plain"])
def check(request: pytest.FixtureRequest) -> Check:
    """A check, compiled or in Python."""
    way: Check = request.param
    return way


# ---- The cache between workers


def test_a_new_worker_fills_its_cache_without_the_database(box: SharedBox, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    assert first.outcome(secret) == "ok"
    for _ in range(3):
        assert check(second, secret) == "ok"
    assert (first.reads.count, second.reads.count) == (1, 0)
    counted = second.authenticator.counters
    assert counted.value(Count.SHARED_HIT) == 1
    assert counted.value(Count.CACHE_HIT) == 2
    assert second.authenticate(secret) == first.authenticate(secret)


def test_a_wrong_secret_finds_nothing_there(box: SharedBox, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.outcome(secret)
    assert check(second, forge(secret))[:3] == "401"
    assert second.reads.count == 0
    assert len(second.authenticator.known) == 0


def test_a_shared_entry_keeps_its_ticket_and_its_deadline(box: SharedBox, check: Check) -> None:
    first, second = box.worker(cache_ttl=200.0), box.worker(cache_ttl=200.0)
    secret = first.issue()
    first.outcome(secret)
    check(second, secret)
    theirs, ours = (
        one.authenticator.known.get(presented(secret).lookup) for one in (first, second)
    )
    assert theirs is not None
    assert ours is not None
    assert (theirs.ticket, theirs.deadline) == (ours.ticket, ours.deadline)
    assert theirs.record() == ours.record()


def test_a_shared_entry_expires_by_the_first_read(box: SharedBox, check: Check) -> None:
    first, second = box.worker(cache_ttl=0.4), box.worker(cache_ttl=0.4)
    secret = first.issue()
    first.outcome(secret)
    read_by = time.monotonic()
    time.sleep(0.2)
    check(second, secret)
    while time.monotonic() < read_by + 0.45:
        time.sleep(0.01)
    # If it were counted from the second worker's read, it would last until 0.6.
    check(second, secret)
    assert second.reads.count == 1


@pytest.mark.parametrize("change", ["revoke", "invalidate", "all"])
def test_a_change_invalidates_it_everywhere(box: SharedBox, check: Check, change: str) -> None:
    first, second, third = box.worker(), box.worker(), box.worker()
    secret = first.issue()
    assert [check(one, secret) for one in (first, second)] == ["ok", "ok"]
    if change == "revoke":
        first.revoke(secret)
    elif change == "invalidate":
        box.attach().invalidate(presented(secret).lookup)
    else:
        box.attach().invalidate_all()
    for one in (second, third, first):
        assert (check(one, secret) == "ok") == (change != "revoke")
    # One of them read it again, for all.
    assert first.reads.count + second.reads.count + third.reads.count == 2


def test_revoked_and_expired_entries_are_shared_too(box: SharedBox, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.revoke(secret)
    assert first.outcome(secret) == "RevokedCredential"
    for _ in range(2):
        assert check(second, secret)[:3] == "401"
    assert second.reads.count == 0
    row = second.service.get(api_key(secret), None).id
    assert box.attach().uses.row(row)[Use.REVOKED] == 3


def test_an_unregistered_key_is_not_shared(box: SharedBox, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = derive(first.keys.newest)
    assert [check(one, secret)[:3] for one in (first, second)] == ["401", "401"]
    second.register(secret)
    assert [check(one, secret) for one in (first, second)] == ["ok", "ok"]


def test_entries_of_an_older_list_of_derivation_keys_do_not_match(
    box: SharedBox, check: Check
) -> None:
    old, new = DerivationKey(b"o" * 32), DerivationKey(b"n" * 32)
    before = box.worker(current=[old])
    secret = before.issue()
    assert before.outcome(secret) == "ok"
    after = box.worker(current=[new])
    assert check(after, secret)[:3] == "401"
    both = box.worker(current=[new], retired=[old])
    assert check(both, secret) == "ok"
    assert (after.reads.count, both.reads.count) == (0, 1)


@pytest.mark.parametrize("backend", ["cachetools", "none"])
def test_other_backends_obey_the_same_stripes(box: SharedBox, backend: str) -> None:
    first, second = box.worker(backend=backend), box.worker()
    secret = first.issue()
    assert first.authenticator.l2 is None
    assert first.outcome(secret) == second.outcome(secret) == through(first, secret) == "ok"
    second.revoke(secret)
    assert first.outcome(secret) == "RevokedCredential"
    first_reads = first.reads.count
    assert first_reads == (2 if backend == "cachetools" else 3)


# ---- Races, at their worst moments


def _stopped(worker: Worker, secret: str, where: str) -> tuple[Running, Gate]:
    """A check of an uncached key in a thread, stopped just before or just after its SELECT."""
    gate = Gate()
    thread = Running(lambda: worker.outcome(secret), start=False)
    setattr(worker.reads, where, gate.only(thread))
    thread.start()
    gate.await_arrival()
    return thread, gate


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_stale_fill_after_a_revocation_is_never_a_hit(
    box: SharedBox, check: Check, where: str
) -> None:
    """The worker is stopped between its ticket and its SELECT, or between SELECT and fill."""
    first, second, third = box.worker(), box.worker(), box.worker()
    secret = first.issue()
    thread, gate = _stopped(first, secret, where)
    second.revoke(secret)
    assert check(third, secret)[:3] == "401"
    gate.open()
    assert thread.value() == ("RevokedCredential" if where == "before" else "ok")
    for _ in range(2):
        for worker in (first, second, third, box.worker()):
            assert check(worker, secret)[:3] == "401"


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_registration_during_a_lookup(box: SharedBox, check: Check, where: str) -> None:
    first, second = box.worker(), box.worker()
    secret = derive(first.keys.newest)
    thread, gate = _stopped(first, secret, where)
    second.register(secret)
    gate.open()
    assert thread.value() == ("ok" if where == "before" else "InvalidCredential")
    assert check(first, secret) == check(second, secret) == "ok"


def test_a_flight_during_a_revocation_by_another_worker(box: SharedBox) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    leader, gate = _stopped(first, secret, "after")
    waiters = [Running(lambda: first.outcome(secret)) for _ in range(4)]
    await_waiting(waiters, "fly")
    second.revoke(secret)
    newcomers = [Running(lambda: first.outcome(secret)) for _ in range(4)]
    assert [one.value() for one in newcomers] == ["RevokedCredential"] * 4
    gate.open()
    assert [one.value() for one in (leader, *waiters)] == ["ok"] * 5
    assert first.outcome(secret) == second.outcome(secret) == "RevokedCredential"


def test_an_older_fill_does_not_outlive_a_newer_one(box: SharedBox, check: Check) -> None:
    """The slot then has the older entry with its own ticket, which is a miss."""
    first, second = box.worker(), box.worker()
    secret = first.issue()
    thread, gate = _stopped(first, secret, "after")
    second.revoke(secret)
    assert second.outcome(secret) == "RevokedCredential"
    gate.open()
    assert thread.value() == "ok"
    fresh = box.worker()
    assert check(fresh, secret)[:3] == "401"
    assert fresh.reads.count == 1


def test_a_database_failure_is_cached_nowhere(box: SharedBox, check: Check) -> None:
    first, second = box.worker(), box.worker()
    warm, cold = first.issue(), first.issue()
    assert first.outcome(warm) == "ok"
    away = first.path.with_name("away.db")
    first.path.rename(away)
    assert check(second, warm) == "ok"
    with pytest.raises(StoreError):
        second.authenticate(cold)
    away.rename(first.path)
    assert check(second, cold) == check(first, cold) == "ok"


# ---- Invalid records


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: b"",
        lambda record: record[:30],
        lambda record: record[:-1],
        lambda record: record + b"x",
        lambda record: b"\xff" + record[1:],
        lambda record: record[:-1] + b"\xff",
        lambda record: record[: DIGEST_AT - 8] + b"\xfe" * 7 + b"\x7f" + record[DIGEST_AT:],
    ],
    ids=["empty", "cut", "shorter", "longer", "other version", "not UTF-8", "year 10^8"],
)
def test_an_invalid_record_is_a_miss(
    box: SharedBox, check: Check, spoil: Callable[[bytes], bytes]
) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.outcome(secret)
    lookup = presented(secret).lookup
    cache = first.authenticator.l2
    assert cache is not None
    found = cache.get(lookup)
    assert found is not None
    cache.put(lookup, spoil(found.value), ticket=found.ticket, deadline=found.deadline)
    assert check(second, secret) == "ok"
    assert second.reads.count == 1


def test_an_entry_too_long_for_a_slot_is_cached_by_each_worker(
    box: SharedBox, check: Check
) -> None:
    first, second = box.worker(), box.worker()
    secret = first.service.issue(name="ü" * 100, caller=None, by=TESTER).secret
    _is_cached_by_each(box, check, first, second, secret)


def test_metadata_too_long_for_a_slot_is_cached_by_each_worker(
    box: SharedBox, check: Check
) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    metadata = json.dumps({"note": "x" * (768 - len(json.dumps({"note": ""})))})
    for worker in (first, second):
        worker.reads.of_account(secret, external_id="customer-17", metadata_text=metadata)
    _is_cached_by_each(box, check, first, second, secret)
    for worker in (first, second):
        assert worker.authenticate(secret).metadata_text == metadata


def test_the_fields_of_an_account_are_shared(box: SharedBox, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    fields = {"external_id": "customer-17", "metadata_text": '{"plan":"gold"}'}
    first.reads.of_account(secret, in_instance_account=True, **fields)
    assert [check(one, secret) for one in (first, second, second)] == ["ok"] * 3
    assert second.reads.count == 0
    principal = second.authenticate(secret)
    assert principal == first.authenticate(secret)
    assert principal.external_id == "customer-17"
    assert principal.account_metadata == {"plan": "gold"}
    assert principal.in_instance_account is True


def _is_cached_by_each(
    box: SharedBox, check: Check, first: Worker, second: Worker, secret: str
) -> None:
    assert [check(one, secret) for one in (first, first, second, second)] == ["ok"] * 4
    assert (first.reads.count, second.reads.count) == (1, 1)
    stats = box.attach().l2
    assert stats is not None
    assert stats.stats().oversized == 2
