"""What a service has reserved of quotas: given back at its end, and by the next one if killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from latchkey.box.segment import ServiceSegment, attached
from latchkey.check._limits import LimitPlan
from latchkey.check.limiting import Limiter
from latchkey.config import Settings
from latchkey.credentials.limits import QuotaLimit
from latchkey.credentials.models import Credential
from latchkey.credentials.times import utc_now
from latchkey.errors import QuotaExceeded
from latchkey.store.protocols import Store
from tests.support.audited import add, open_store
from tests.support.segment_holders import CHANGE, SERVE, files, other, settings_for
from tests.support.store.new_credentials import new_credential

# 10 units are reserved at once.
QUOTA = QuotaLimit("all", 1_000, "total")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture
def key(store: Store) -> Credential:
    return add(store, new_credential(limits=(QUOTA,)))


def spend(settings: Settings, store: Store, key: Credential, units: int) -> None:
    """Spend units of the key's quota in the memory of a service, like a worker."""
    with attached(settings) as shared:
        assert shared.segment is not None
        counters = shared.claim_block().counters
        limiter = Limiter(
            shared.limits, store.limits, shared.segment.uuid, counters, shared.count_refusal
        )
        limiter.take(LimitPlan(key.limits), key.id, units)


def used(store: Store, key: Credential) -> int:
    (use,) = store.limits.states([key.limits[0].id], utc_now()).values()
    return use.used


def test_a_clean_stop_gives_back_what_was_not_spent(
    settings: Settings, store: Store, key: Credential
) -> None:
    with other(SERVE, settings) as serving:
        serving.says()
        spend(settings, store, key, 3)
        assert used(store, key) == 10
        serving.end()
    assert used(store, key) == 3


def test_the_next_start_gives_back_what_a_killed_service_had(
    settings: Settings, store: Store, key: Credential
) -> None:
    for rounds in (1, 2):
        with other(SERVE, settings) as killed:
            killed.says()
            spend(settings, store, key, 3)
            # A worker was killed between the commit of a reservation and its publication.
            with attached(settings) as shared:
                assert shared.segment is not None
                store.limits.reserve(key.limits[0].id, shared.segment.uuid, 20, utc_now())
            del shared
            killed.kill()
        ServiceSegment.open(settings).close()
        assert used(store, key) == 3 * rounds
    assert files(settings) == []


def test_units_that_were_reserved_first_and_not_published_are_given_back(
    settings: Settings, store: Store, key: Credential
) -> None:
    other_key = add(store, new_credential(limits=(QUOTA,)))
    with other(SERVE, settings) as killed:
        uuid = killed.says()
        spend(settings, store, key, 3)
        store.limits.reserve(other_key.limits[0].id, uuid, 1, utc_now())
        assert used(store, other_key) == 10
        killed.kill()
    ServiceSegment.open(settings).close()
    assert (used(store, key), used(store, other_key)) == (3, 0)


def test_one_of_several_processes_that_leave_gives_back(
    settings: Settings, store: Store, key: Credential
) -> None:
    with other(SERVE, settings) as first, other(SERVE, settings) as second:
        assert first.says() == second.says()
        spend(settings, store, key, 3)
        first.end()
        # The other one may spend what is reserved.
        assert used(store, key) == 10
        spend(settings, store, key, 5)
        second.end()
    assert used(store, key) == 8


def test_memory_that_a_command_still_holds_is_not_spent_twice(
    settings: Settings, store: Store, key: Credential
) -> None:
    with other(SERVE, settings) as killed:
        uuid = killed.says()
        spend(settings, store, key, 3)
        with other(CHANGE, settings) as command:
            assert command.says() == uuid
            killed.kill()
            opened = ServiceSegment.open(settings)
            assert opened.segment.uuid == uuid
            command.end()
        assert used(store, key) == 10
        spend(settings, store, key, 990)
        with pytest.raises(QuotaExceeded):
            spend(settings, store, key, 1)
        opened.close()
    assert used(store, key) == 1_000
