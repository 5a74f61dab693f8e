"""Limits of keys and accounts: stored with them, read by every check, and spent by reservations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from latchkey.credentials.accounts import AccountChange, NewAccount
from latchkey.credentials.callers import Author
from latchkey.credentials.limits import Limit, QuotaLimit, StoredLimit, quota_limit, rate_limit
from latchkey.credentials.models import Change, Credential
from latchkey.credentials.quotas import EPOCH_TAGS, Held, Reservation, Spent
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, change, result_of
from tests.support.store.new_credentials import NewStore, new_credential, verifier_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ONE, TWO = "1" * 32, "2" * 32
HUNDRED = rate_limit("100/minute", burst=7)
MONTHLY = quota_limit("monthly", 1000, "month", 5)
SMALL = quota_limit("small", 10, "day")
TOTAL = quota_limit("total", 500, "total")


def key_with(store: Store, *limits: Limit, **terms: Any) -> Credential:
    return add(store, new_credential(limits=limits, created_at=NOW, **terms))


def set_limits(store: Store, key: Credential, *limits: Limit, **terms: Any) -> Credential:
    at = terms.pop("at", NOW)
    return change(store, key.api_key, at, lambda found: Change(limits=limits, **terms))


def quota(store: Store, limit: QuotaLimit) -> StoredLimit:
    return key_with(store, limit).limits[0]


def reserve(
    store: Store,
    limit: StoredLimit,
    cost: int = 1,
    *,
    segment: str = ONE,
    at: datetime = NOW,
    held: Held | None = None,
) -> Reservation:
    made = store.limits.reserve(limit.id, segment, cost, at, held)
    assert made is not None
    return made


def used(store: Store, limit: StoredLimit, at: datetime = NOW) -> int:
    return store.limits.states([limit.id], at)[limit.id].used


@pytest.mark.parametrize("limits", [(), (HUNDRED,), (MONTHLY, HUNDRED, TOTAL, SMALL)])
def test_a_check_reads_the_limits_of_a_key(store: Store, limits: tuple[Limit, ...]) -> None:
    made = key_with(store, *limits)
    assert tuple(stored.limit for stored in made.limits) == limits
    assert len({stored.id for stored in made.limits}) == len(limits)
    assert store.find(made.api_key) == made
    assert store.verifier(made.api_key) == verifier_of(made)
    changed = set_limits(store, made, *limits[:1])
    assert changed.limits == made.limits[:1]
    assert store.find(made.api_key) == changed
    assert store.verifier(made.api_key) == verifier_of(changed)


def test_a_check_reads_the_limits_of_another_key(store: Store) -> None:
    root = key_with(store, HUNDRED)
    sharing = key_with(store, limits_of=root.id)
    plain = key_with(store)
    assert sharing.applied_limits.own == root.limits
    assert sharing.applied_limits.shared_from == root.id
    for limits in ((HUNDRED,), (MONTHLY,), ()):
        now = set_limits(store, root, *limits)
        found = store.find(sharing.api_key)
        assert found is not None
        assert found.shared_limits == (root.id, root.api_key, now.limits)
        verifier = store.verifier(sharing.api_key)
        assert verifier == verifier_of(found)
        assert verifier.limits is not None
    assert store.page("live", 2, None)[1] == found
    found_plain = store.verifier(plain.api_key)
    assert found_plain is not None
    assert found_plain.limits is None
    detached = set_limits(store, sharing, SMALL)
    assert detached.shared_limits is None
    assert store.verifier(sharing.api_key) == verifier_of(detached)


def test_a_check_reads_the_limits_of_an_account(store: Store) -> None:
    new = NewAccount("acct_" + "7" * 22, "customer", None, None, NOW, (MONTHLY, HUNDRED))
    account = result_of(store.accounts.add(lambda caller: new, Author(TESTER)))
    keys = {
        mode: key_with(store, SMALL, account_id=account.id, mode=mode) for mode in ("live", "test")
    }
    for mode, key in keys.items():
        verifier = store.verifier(key.api_key)
        assert verifier == verifier_of(key)
        assert verifier.limits is not None
        assert verifier.limits.account == account.limits.of(mode)  # type: ignore[arg-type]
    ids = [one.id for of_mode in account.limits for one in of_mode]
    ids += [one.id for key in keys.values() for one in key.limits]
    assert len(set(ids)) == 6

    def put(limits: tuple[Limit, ...]) -> Any:
        terms = AccountChange(limits=limits)
        return result_of(
            store.accounts.change(account.id, NOW, lambda caller, found: terms, Author(TESTER))
        )

    assert put(()).limits == ((), ())
    assert put((MONTHLY, HUNDRED)) == account
    assert store.accounts.find(account.id) == account


def test_imported_keys_have_limits(store: Store) -> None:
    new = [
        new_credential(origin="imported", limits=limits, created_at=NOW)
        for limits in ((HUNDRED, MONTHLY), (), (MONTHLY,))
    ]
    result_of(store.imported.add_all(new, lambda hashes: (), {}, TESTER, lambda done: None))
    ids: set[int] = set()
    for one in new:
        verifier = store.imported.verifier(one.secret_hash)
        assert verifier is not None
        own = () if verifier.limits is None else verifier.limits.own
        assert tuple(stored.limit for stored in own) == one.limits
        ids.update(stored.id for stored in own)
    assert len(ids) == 3


def test_a_limit_keeps_its_id(store: Store) -> None:
    made = key_with(store, HUNDRED, MONTHLY)
    set_limits(store, made, SMALL)
    again = set_limits(store, made, MONTHLY, HUNDRED)
    assert again.limits == made.limits[::-1]
    other = set_limits(store, made, rate_limit("5/second", "monthly"))
    assert other.limits == (StoredLimit(made.limits[1].id, rate_limit("5/second", "monthly")),)
    # The quota that comes back counts what was spent before.
    reserve(store, quota(store, MONTHLY))


def test_units_are_reserved_in_parts(new_store: NewStore) -> None:
    store, other = new_store(), new_store()
    limit = quota(store, MONTHLY)
    until = datetime(2026, 12, 5, tzinfo=UTC)
    first = reserve(store, limit)
    assert first == (1, 1, 10, until, 1000, 10, True)
    assert reserve(other, limit, segment=TWO) == (1, 1, 10, until, 1000, 20, True)
    held = Held(1, 10, 10)
    assert reserve(other, limit, held=held) == (1, 1, 20, until, 1000, 30, True)
    # What another process has reserved meanwhile suffices.
    assert reserve(store, limit, held=held) == (1, 1, 20, until, 1000, 30, True)
    assert reserve(store, limit, 300, held=Held(1, 20, 15)) == (1, 1, 315, until, 1000, 325, True)
    assert used(store, limit) == 325
    # Not enough for a cost: nothing is reserved.
    assert reserve(store, limit, 676, segment=TWO, held=Held(1, 10, 10)) == (
        *(1, 1, 10, until, 1000, 325),
        False,
    )
    assert reserve(store, limit, 675, segment=TWO, held=Held(1, 10, 10)).suffices
    assert not reserve(store, limit, 1, segment=TWO, held=Held(1, 685, 685)).suffices
    assert used(store, limit) == 1000


def test_the_last_units_are_reserved_one_by_one(store: Store) -> None:
    limit = quota(store, quota_limit("large", 10**6, "total"))
    assert reserve(store, limit).reserved == 1000
    reserve(store, limit, 999_000 - 25, segment=TWO)
    assert reserve(store, limit, held=Held(1, 1000, 1000)).reserved == 1002
    assert reserve(store, limit, held=Held(1, 1002, 1002)).reserved == 1004
    assert reserve(store, limit, held=Held(1, 1004, 1004)).reserved == 1006
    assert reserve(store, limit, held=Held(1, 1006, 1006)).reserved == 1007


def test_unspent_units_are_given_back(store: Store) -> None:
    limit, other = quota(store, MONTHLY), quota(store, TOTAL)
    reserve(store, limit, 100)
    reserve(store, limit, 50, segment=TWO)
    store.limits.give_back(limit.id, 1, ONE, 30)
    assert used(store, limit) == 80
    # Never more than was reserved.
    store.limits.give_back(limit.id, 1, ONE, 60)
    store.limits.give_back(limit.id, 2, TWO, 0)
    assert used(store, limit) == 80
    reserve(store, other, 20, segment=TWO)
    store.limits.give_back_all(TWO, [Spent(other.id, 1, 3), Spent(limit.id, 1 + EPOCH_TAGS, 49)])
    assert (used(store, limit), used(store, other)) == (79, 3)
    # The segment has spent nothing of what is not listed.
    store.limits.give_back_all(TWO, [Spent(other.id, 1, 3)])
    assert (used(store, limit), used(store, other)) == (30, 3)


def test_a_period_begins_when_it_is_due(store: Store) -> None:
    limit = quota(store, SMALL)
    assert reserve(store, limit, 10).suffices
    assert not reserve(store, limit, held=Held(1, 10, 10)).suffices
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    last = midnight - timedelta(milliseconds=1)
    assert not reserve(store, limit, at=last, held=Held(1, 10, 10)).suffices
    assert used(store, limit, midnight) == 0
    begun = reserve(store, limit, 4, at=midnight, held=Held(1, 10, 10))
    assert begun == (2, 1, 4, midnight + DAY, 10, 4, True)
    # Nothing comes back to the former one, and the clock may be put back.
    store.limits.give_back(limit.id, 1, ONE, 0)
    late = reserve(store, limit, 4, at=NOW - 90 * DAY, held=Held(2, 4, 4))
    assert late == (2, 1, 8, midnight + DAY, 10, 8, True)
    assert store.limits.states([limit.id], NOW)[limit.id].until == midnight + DAY
    assert reserve(store, limit, 10, at=midnight + DAY).epoch == 3


def test_a_quota_without_an_end_has_no_other_period(store: Store) -> None:
    limit = quota(store, TOTAL)
    assert reserve(store, limit, 500) == (1, 1, 500, None, 500, 500, True)
    assert not reserve(store, limit, at=NOW + 9000 * DAY, held=Held(1, 500, 500)).suffices


def test_a_changed_quota_is_charged_with_what_was_used(store: Store) -> None:
    key = key_with(store, quota_limit("q", 100, "month"))
    limit = key.limits[0]
    reserve(store, limit, 60)
    for number, (definition, left) in enumerate(
        [
            (quota_limit("q", 70, "month"), 10),
            (quota_limit("q", 200, "day"), 130),
            (quota_limit("q", 50, "month", 28), 0),
            (quota_limit("q", 201, "month"), 1),
        ]
    ):
        (changed,) = set_limits(store, key, definition).limits
        assert (changed.id, changed.generation) == (limit.id, 2 + number)
        assert not reserve(store, changed, left + 1, segment=TWO).suffices
        if left:
            made = reserve(store, changed, left, segment=TWO)
            assert (made.epoch, made.generation) == (2 + number, changed.generation)
            assert made.suffices
    # What a segment has not spent of it is given back to the present quota.
    store.limits.give_back(limit.id, 1, ONE, 20)
    assert used(store, limit) == 201 - 40
    # A new period has nothing of it.
    assert reserve(store, limit, 201, at=NOW + DAY).suffices


def test_a_changed_quota_is_not_charged_with_a_former_period(store: Store) -> None:
    key = key_with(store, MONTHLY)
    reserve(store, key.limits[0], 600)
    later = NOW + 31 * DAY
    (changed,) = set_limits(store, key, quota_limit("monthly", 500, "month"), at=later).limits
    assert reserve(store, changed, 500, at=later).suffices


def test_a_quota_that_was_a_rate_meanwhile_is_charged(store: Store) -> None:
    key = key_with(store, MONTHLY)
    reserve(store, key.limits[0], 600)
    set_limits(store, key, rate_limit("1/second", "monthly"))
    assert store.limits.reserve(key.limits[0].id, ONE, 1, NOW) is None
    assert store.limits.states([key.limits[0].id], NOW) == {}
    (again,) = set_limits(store, key, MONTHLY).limits
    assert not reserve(store, again, 401).suffices
    assert reserve(store, again, 400).suffices


def test_quotas_are_renewed(store: Store) -> None:
    key = key_with(store, TOTAL, SMALL, HUNDRED)
    total, small, _ = key.limits
    reserve(store, total, 400)
    reserve(store, small, 7)
    names = frozenset({"small", "default"})
    renewed = change(store, key.api_key, NOW, lambda found: Change(renewed=names))
    assert renewed.limits == (total, small._replace(generation=2), key.limits[2])
    assert (used(store, total), used(store, small)) == (400, 0)
    again = set_limits(store, key, TOTAL, SMALL)
    assert again.limits == (total._replace(generation=2), small._replace(generation=2))
    assert used(store, total) == 0
    reserve(store, total, 400)
    assert set_limits(store, key, TOTAL, keeps_totals=True).limits == again.limits[:1]
    assert used(store, total) == 400


def test_there_are_no_units_of_other_limits(store: Store) -> None:
    rate = key_with(store, HUNDRED).limits[0]
    for number in (rate.id, rate.id + 1, 0):
        assert store.limits.reserve(number, ONE, 1, NOW) is None
        store.limits.give_back(number, 1, ONE, 0)
    assert store.limits.states([rate.id, rate.id + 1], NOW) == {}
    assert store.limits.states([], NOW) == {}


def test_memory_that_is_ahead_of_the_database_is_charged(store: Store) -> None:
    """As after the database was put back to a former state."""
    limit = quota(store, MONTHLY)
    reserve(store, limit, 100)
    # More units in the present epoch.
    assert reserve(store, limit, 1, held=Held(1, 300, 300)).reserved == 310
    assert used(store, limit) == 310
    # A later epoch: another one begins, so that memory gives back what it has not spent.
    made = reserve(store, limit, 1, held=Held(7, 200, 40))
    assert (made.epoch, made.reserved, made.used) == (8, 10, 520)
    store.limits.give_back(limit.id, 7, ONE, 40)
    assert used(store, limit) == 360
    # An earlier epoch is not.
    assert reserve(store, limit, 1, held=Held(3, 500, 0)).used == 360


def test_a_change_does_not_move_the_period_back(store: Store) -> None:
    key = key_with(store, SMALL)
    reserve(store, key.limits[0], 10, at=NOW + DAY)
    monthly = quota_limit("small", 10, "month")
    # The clock was put back before the change, into the month before.
    (changed,) = set_limits(store, key, monthly, at=NOW).limits
    assert not reserve(store, changed, at=NOW + DAY).suffices
    assert reserve(store, changed, at=NOW + 32 * DAY).suffices


def test_an_erased_account_keeps_its_limits(store: Store) -> None:
    new = NewAccount("acct_" + "7" * 22, "customer", None, None, NOW, (MONTHLY, HUNDRED))
    account = result_of(store.accounts.add(lambda caller: new, Author(TESTER)))
    key = key_with(store, SMALL, account_id=account.id)
    result_of(store.accounts.erase(account.id, NOW, Author(TESTER)))
    found, found_key = store.accounts.find(account.id), store.find(key.api_key)
    assert found is not None
    assert found_key is not None
    assert (found.limits, found_key.limits) == (account.limits, key.limits)


def test_units_are_reserved_once_at_the_same_time(new_store: NewStore) -> None:
    stores = [new_store() for _ in range(2)]
    limit = quota(stores[0], quota_limit("q", 60, "total"))

    def spend_all(number: int) -> int:
        """Spend units one by one, as the only thread of a segment, until there are no more."""
        spent = granted = 0
        while True:
            held = Held(1, granted, spent)
            made = stores[number % 2].limits.reserve(limit.id, str(number) * 32, 1, NOW, held)
            assert made is not None
            if not made.suffices:
                return spent
            granted = made.reserved
            spent += 1

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(spend_all, range(4))) == 60
    assert used(stores[0], limit) == 60
