"""The current use: persisted counts plus those in memory, each use exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latchkey.credentials.accounts import NewAccount
from latchkey.credentials.callers import Author
from latchkey.credentials.models import REFUSAL_REASONS, Credential, Sighting, Tally
from latchkey.credentials.usage import UsageReader
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, open_store, result_of
from tests.support.database import new_database
from tests.support.store.new_credentials import NOW, new_credential

SEGMENT = "1" * 32
TEN = datetime(2026, 1, 15, 10, tzinfo=UTC)


class Counted:
    """A segment's counts, as set by tests."""

    segment = SEGMENT

    def __init__(self) -> None:
        self.tallies: dict[int, Tally] = {}

    def tally(self, credential_id: int) -> Tally:
        return self.tallies.get(credential_id, Tally(credential_id))

    def counted(self, credential_ids: Iterable[int]) -> Iterator[Tally]:
        return (self.tallies[number] for number in credential_ids if number in self.tallies)

    def sightings(self, tally: Tally) -> tuple[Sighting, ...]:
        return tally.sightings


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(new_database(tmp_path / "latchkey.db"))


@pytest.fixture
def credential(store: Store) -> Credential:
    return add(store, new_credential())


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_a_credential_that_was_never_used(
    store: Store, counted: Counted, credential: Credential
) -> None:
    reader = UsageReader(store.usage, counted)
    usage = reader.usage(credential)
    assert (usage.uses, usage.hours, usage.last_used_at) == (0, {}, None)
    assert usage.refusals == dict.fromkeys(REFUSAL_REASONS, 0)
    assert reader.last_used_at(credential) is None
    store.close()


def test_persisted_and_counted_uses_are_summed(
    store: Store, counted: Counted, credential: Credential
) -> None:
    reader = UsageReader(store.usage, counted)
    number = credential.id
    for uses, moment in ((3, NOW), (5, NOW + timedelta(hours=1)), (9, NOW + timedelta(hours=1))):
        counted.tallies[number] = Tally(number, uses, milliseconds(moment), scope=uses)
        fresh = store.find(credential.api_key)
        assert fresh is not None
        for _ in range(2):
            # The sum is the same before and after the flush.
            usage = reader.usage(fresh)
            assert (usage.uses, usage.last_used_at) == (uses, moment)
            assert usage.refusals["scope"] == uses
            assert reader.last_used_at(fresh) == moment
            store.usage.flush(SEGMENT, [counted.tallies[number]], NOW)
    assert reader.usage(credential).hours == {TEN: 3, TEN + timedelta(hours=1): 6}
    store.close()


def test_counts_of_an_earlier_segment_are_kept(
    store: Store, counted: Counted, credential: Credential
) -> None:
    number = credential.id
    store.usage.flush("2" * 32, [Tally(number, 7, milliseconds(NOW), expired=1)], NOW)
    counted.tallies[number] = Tally(number, 2, milliseconds(NOW), expired=2)
    usage = UsageReader(store.usage, counted).usage(credential)
    assert (usage.uses, usage.refusals["expired"]) == (9, 3)
    store.close()


def test_the_later_of_two_last_uses(store: Store, counted: Counted, credential: Credential) -> None:
    """If a clock was set back, the last use is not earlier than the persisted one."""
    number = credential.id
    store.usage.flush("2" * 32, [Tally(number, 1, milliseconds(NOW))], NOW)
    counted.tallies[number] = Tally(number, 1, milliseconds(NOW - timedelta(days=1)))
    fresh = store.find(credential.api_key)
    assert fresh is not None
    assert UsageReader(store.usage, counted).last_used_at(fresh) == NOW
    store.close()


def test_a_watermark_ahead_of_the_tally_subtracts_nothing(
    store: Store, counted: Counted, credential: Credential
) -> None:
    number = credential.id
    store.usage.flush(SEGMENT, [Tally(number, 9, milliseconds(NOW), scope=4)], NOW)
    counted.tallies[number] = Tally(number, 5, milliseconds(NOW), scope=1)
    usage = UsageReader(store.usage, counted).usage(credential)
    assert (usage.uses, usage.refusals["scope"]) == (9, 4)
    store.close()


def test_the_uses_of_an_account_are_summed(store: Store, counted: Counted) -> None:
    """Persisted and counted ones, the same before and after each flush, in one mode."""
    reader = UsageReader(store.usage, counted)
    new = NewAccount("acct_" + "7" * 22, "customer", None, None, NOW)
    account = result_of(store.accounts.add(lambda caller: new, Author(TESTER))).id
    keys = [add(store, new_credential(account_id=account)).id for _ in range(4)]
    test = add(store, new_credential(account_id=account, mode="test")).id
    other = add(store, new_credential()).id
    for uses in (1, 5, 5, 20):
        last = NOW + timedelta(minutes=uses)
        for number in (*keys[:3], test, other):
            counted.tallies[number] = Tally(
                number, uses + number, milliseconds(last), scope=uses, first_used=milliseconds(NOW)
            )
        expected = sum(uses + number for number in keys[:3])
        for flushed in ([], keys[:1], keys[:2], [*keys, test, other]):
            store.usage.flush(SEGMENT, [counted.tally(number) for number in flushed], last)
            usage = reader.usage_of_account(account, "live")
            assert (usage.uses, usage.hours) == (expected, {TEN: expected})
            assert usage.refusals == {**dict.fromkeys(REFUSAL_REASONS, 0), "scope": 3 * uses}
            assert (usage.first_used_at, usage.last_used_at) == (NOW, last)
    assert reader.usage_of_account(account, "test").uses == 20 + test
    store.close()
