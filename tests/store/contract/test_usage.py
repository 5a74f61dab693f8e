"""Uses persisted from cumulative counters: each exactly once, even after repeated flushes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from latchkey.credentials.accounts import NewAccount
from latchkey.credentials.callers import Author
from latchkey.credentials.listing import LimitedKeys
from latchkey.credentials.models import AccountUsageRecord, Tally
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, result_of
from tests.support.store.new_credentials import NOW, NewStore, new_credential
from tests.support.store.tallies import OTHER, SEGMENT, tally, total


@pytest.fixture
def number(store: Store) -> int:
    """The id of a credential."""
    return add(store, new_credential()).id


def test_a_credential_that_was_never_used(store: Store, number: int) -> None:
    record = store.usage.record(number, SEGMENT)
    assert (record.hours, record.refusals, record.watermark) == ({}, {}, Tally(number))


def test_counted_uses_are_persisted(store: Store, number: int) -> None:
    store.usage.flush(SEGMENT, [tally(number, 7, revoked=1, expired=2, scope=3)], NOW)
    record = store.usage.record(number, SEGMENT)
    assert record.hours == {datetime(2026, 1, 15, 10, tzinfo=UTC): 7}
    assert record.refusals == {"revoked": 1, "expired": 2, "scope": 3}
    assert record.watermark == Tally(number, uses=7, revoked=1, expired=2, scope=3)
    found = store.page(None, 1, None)[0]
    assert found.last_used_at == NOW


def test_flushing_the_same_tally_again_adds_nothing(store: Store, number: int) -> None:
    for _ in range(3):
        store.usage.flush(SEGMENT, [tally(number, 7, scope=2)], NOW)
    record = store.usage.record(number, SEGMENT)
    assert (list(record.hours.values()), record.refusals) == ([7], {"scope": 2})


def test_further_uses_are_added(store: Store, number: int) -> None:
    for uses in (1, 5, 5, 20):
        store.usage.flush(SEGMENT, [tally(number, uses, scope=uses)], NOW)
    record = store.usage.record(number, SEGMENT)
    assert (list(record.hours.values()), record.refusals) == ([20], {"scope": 20})


def test_an_older_tally_adds_nothing(store: Store, number: int) -> None:
    """One flusher reads; a second one reads later and writes first."""
    store.usage.flush(SEGMENT, [tally(number, 20, NOW + timedelta(seconds=2), scope=1)], NOW)
    store.usage.flush(SEGMENT, [tally(number, 15, scope=4)], NOW)
    record = store.usage.record(number, SEGMENT)
    assert (list(record.hours.values()), record.refusals) == ([20], {"scope": 4})
    assert record.watermark == Tally(number, uses=20, scope=4)
    assert store.page(None, 1, None)[0].last_used_at == NOW + timedelta(seconds=2)


def test_uses_belong_to_the_hour_of_the_last_one(store: Store, number: int) -> None:
    start = datetime(2026, 1, 15, 10, tzinfo=UTC)
    for uses, moment in (
        (1, start),
        (3, start + timedelta(minutes=59, milliseconds=59_999)),
        (6, start + timedelta(hours=1)),
        (10, start + timedelta(days=1)),
    ):
        store.usage.flush(SEGMENT, [tally(number, uses, moment)], start)
    assert store.usage.record(number, SEGMENT).hours == {
        start: 3,
        start + timedelta(hours=1): 3,
        start + timedelta(days=1): 4,
    }


def test_a_use_without_a_time_counts_for_now(store: Store, number: int) -> None:
    """A use is counted before its time is stored: a flusher may read in between."""
    store.usage.flush(SEGMENT, [Tally(number, uses=1)], NOW)
    assert list(store.usage.record(number, SEGMENT).hours) == [
        datetime(2026, 1, 15, 10, tzinfo=UTC)
    ]
    assert store.page(None, 1, None)[0].last_used_at == NOW


def test_refusals_are_not_uses(store: Store, number: int) -> None:
    store.usage.flush(SEGMENT, [Tally(number, revoked=3)], NOW)
    assert store.usage.record(number, SEGMENT).hours == {}
    assert store.page(None, 1, None)[0].last_used_at is None


def test_the_last_use_never_goes_back(store: Store, number: int) -> None:
    store.usage.flush(SEGMENT, [tally(number, 1, NOW)], NOW)
    store.usage.flush(OTHER, [tally(number, 1, NOW - timedelta(days=1))], NOW)
    assert store.page(None, 1, None)[0].last_used_at == NOW


def test_each_segment_has_its_own_watermark(store: Store, number: int) -> None:
    store.usage.flush(SEGMENT, [tally(number, 5)], NOW)
    store.usage.flush(OTHER, [tally(number, 3)], NOW)
    store.usage.flush(SEGMENT, [tally(number, 6)], NOW)
    assert total(store, number) == 9
    assert store.usage.record(number, OTHER).watermark.uses == 3


def test_the_watermarks_of_removed_segments_are_deleted(store: Store, number: int) -> None:
    for segment in (SEGMENT, OTHER):
        store.usage.flush(segment, [tally(number, 5)], NOW)
    store.usage.forget_other_segments(OTHER)
    assert store.usage.record(number, SEGMENT).watermark.uses == 0
    assert store.usage.record(number, OTHER).watermark.uses == 5
    store.usage.forget_other_segments(None)
    assert store.usage.record(number, OTHER).watermark.uses == 0
    assert total(store, number) == 10


def test_the_watermarks_of_one_removed_segment_are_deleted(store: Store, number: int) -> None:
    for segment in (SEGMENT, OTHER):
        store.usage.flush(segment, [tally(number, 5)], NOW)
    store.usage.forget_segment(OTHER)
    assert store.usage.record(number, SEGMENT).watermark.uses == 5
    assert store.usage.record(number, OTHER).watermark.uses == 0
    assert total(store, number) == 10


def test_a_missing_row_does_not_block_others(store: Store, number: int) -> None:
    """After a restore, the counters may have credentials that the database does not."""
    store.usage.flush(SEGMENT, [tally(number + 1, 5), tally(number, 2)], NOW)
    assert total(store, number) == 2
    added = add(store, new_credential())
    assert added.id == number + 1
    assert total(store, added.id) == 0
    # A credential that gets that number later has only the uses from then on.
    store.usage.flush(SEGMENT, [tally(added.id, 7)], NOW)
    assert total(store, added.id) == 2


def test_persisted_and_unpersisted_uses_are_consistent(new_store: NewStore) -> None:
    """Persisted uses less the watermark stay the same during flushes."""
    store, flusher = new_store(), new_store()
    number = add(store, new_credential()).id
    stop = threading.Event()

    def flush() -> None:
        for uses in range(1, 400):
            if stop.is_set():
                return
            flusher.usage.flush(SEGMENT, [tally(number, uses)], NOW)

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        while thread.is_alive():
            record = store.usage.record(number, SEGMENT)
            assert sum(record.hours.values()) == record.watermark.uses
    finally:
        stop.set()
        thread.join()


def test_old_hours_are_folded_by_day(store: Store, number: int) -> None:
    """Totals, newer hours and the hours of other credentials are unchanged."""
    other = add(store, new_credential()).id
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    used = [midnight + timedelta(hours=hour) for hour in (-49, -48, -47, -1, 0, 1, 5)]
    for credential in (number, other):
        for uses, moment in enumerate(used, start=1):
            store.usage.flush(SEGMENT, [tally(credential, uses * uses, moment)], moment)
    before = {one: store.usage.record(one, SEGMENT) for one in (number, other)}
    assert store.usage.fold(midnight) == 6
    assert store.usage.fold(midnight) == 0
    for one in (number, other):
        record = store.usage.record(one, SEGMENT)
        assert record.hours == {
            midnight - timedelta(days=3): 1,
            midnight - timedelta(days=2): 8,
            midnight - timedelta(days=1): 7,
            midnight: 9,
            midnight + timedelta(hours=1): 11,
            midnight + timedelta(hours=5): 13,
        }
        assert sum(record.hours.values()) == sum(before[one].hours.values())
        assert record.watermark == before[one].watermark
    # Late flushes for a day that is already folded are folded the next time.
    late = midnight - timedelta(hours=30)
    store.usage.flush(OTHER, [tally(number, 5, late)], late)
    assert store.usage.fold(midnight) == 1
    assert store.usage.record(number, SEGMENT).hours[midnight - timedelta(days=2)] == 13


def test_the_use_of_an_account(store: Store) -> None:
    """Summed over its credentials in one mode, with each one's watermark."""
    new = NewAccount("acct_" + "7" * 22, "customer", None, None, NOW)
    account = result_of(store.accounts.add(lambda caller: new, Author(TESTER))).id
    nothing = store.usage.account_record(account, "live", SEGMENT)
    assert nothing == AccountUsageRecord({}, {}, [], {}, None, None)
    first, second, unused = (add(store, new_credential(account_id=account)).id for _ in range(3))
    test = add(store, new_credential(account_id=account, mode="test")).id
    other = add(store, new_credential()).id
    later = NOW + timedelta(hours=1)
    for segment, tallies in (
        (SEGMENT, [tally(first, 7, scope=1), tally(second, 5, later, scope=2, revoked=3)]),
        (SEGMENT, [tally(test, 100), tally(other, 1000, scope=9)]),
        (OTHER, [tally(first, 20, later), tally(second, 30)]),
    ):
        store.usage.flush(segment, tallies, NOW)
    assert store.usage.account_record(account, "live", SEGMENT) == AccountUsageRecord(
        {datetime(2026, 1, 15, 10, tzinfo=UTC): 37, datetime(2026, 1, 15, 11, tzinfo=UTC): 25},
        {"scope": 3, "revoked": 3},
        [first, second, unused],
        {
            first: Tally(first, uses=7, scope=1),
            second: Tally(second, uses=5, scope=2, revoked=3),
        },
        last_used_at=later,
        first_used_at=NOW,
    )
    of_test = store.usage.account_record(account, "test", SEGMENT)
    assert (list(of_test.hours.values()), of_test.credential_ids) == ([100], [test])


# ---- Refusals by limits


def test_refusals_by_limits_count_for_the_hour_of_the_flush(store: Store, number: int) -> None:
    store.usage.flush(SEGMENT, [tally(number, 1, rate_limited=2, quota_exceeded=3)], NOW)
    later = NOW + timedelta(hours=1)
    again = [tally(number, 1, rate_limited=6, quota_exceeded=3)]
    for _ in range(2):
        store.usage.flush(SEGMENT, again, later)
    this_hour = NOW.replace(minute=0, second=0, microsecond=0)
    record = store.usage.record(number, SEGMENT)
    assert record.limited == {this_hour: 5, this_hour + timedelta(hours=1): 4}
    assert record.refusals == {"rate_limited": 6, "quota_exceeded": 3}
    assert record.hours == {this_hour: 1}
    account_id = store.accounts.instance().id
    assert store.usage.account_record(account_id, "live", SEGMENT).limited == record.limited
    store.usage.fold(this_hour + timedelta(hours=1))
    assert list(store.usage.record(number, SEGMENT).limited) == [this_hour + timedelta(hours=1)]


def test_the_keys_at_their_limit(store: Store) -> None:
    numbers = [add(store, new_credential()).id for _ in range(4)]
    for number, count in zip(numbers, (1, 7, 2, 0), strict=True):
        store.usage.flush(SEGMENT, [tally(number, 1, rate_limited=count)], NOW)
    later = NOW + timedelta(hours=1)
    store.usage.flush(SEGMENT, [tally(numbers[0], 1, rate_limited=9)], later)
    this_hour = NOW.replace(minute=0, second=0, microsecond=0)
    found = store.listing.limited(this_hour, 2)
    assert found.total == 3
    assert [(one.id, count) for one, count in found.first] == [(numbers[0], 9), (numbers[1], 7)]
    found = store.listing.limited(this_hour + timedelta(hours=1), 2)
    assert [(one.id, count) for one, count in found.first] == [(numbers[0], 8)]
    assert store.listing.limited(this_hour + timedelta(hours=2), 2) == LimitedKeys(0, ())
