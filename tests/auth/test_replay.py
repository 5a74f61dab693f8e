"""Replaying the log of invalidations, with a real store and real shared words."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from latchkey.box.replay import Replay
from latchkey.credentials.models import Change
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.credentials.times import utc_now
from tests.support.audited import TESTER, add, revoke
from tests.support.auth.upkeep_box import UpkeepBox
from tests.support.auth.worker import derive
from tests.support.credentials.office import KEYS, NEW
from tests.support.store.new_credentials import new_credential


def test_a_committed_change_is_invalidated(upkeep_box: UpkeepBox) -> None:
    """As after a process that was killed before it invalidated."""
    added = add(upkeep_box.store, new_credential())
    before = upkeep_box.generation(added.lookup)
    upkeep_box.replay.run()
    assert upkeep_box.generation(added.lookup) == before + 1
    revoke(upkeep_box.store, added.api_key, utc_now())
    upkeep_box.replay.run()
    assert upkeep_box.generation(added.lookup) == before + 2
    assert upkeep_box.replayed == 2


def test_a_replayed_row_is_not_replayed_again(upkeep_box: UpkeepBox) -> None:
    added = add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    before = upkeep_box.generation(added.lookup)
    for _ in range(3):
        upkeep_box.replay.run()
    assert upkeep_box.generation(added.lookup) == before


def test_a_row_invalidated_by_its_process_is_not_replayed(upkeep_box: UpkeepBox) -> None:
    upkeep_box.replay.run()
    made = upkeep_box.service.issue(name="x", caller=None, by=TESTER).credential
    upkeep_box.service.change(made.api_key, Change(name="y"), None, by=TESTER)
    upkeep_box.service.rotate(made.api_key, None, by=TESTER)
    assert upkeep_box.replayed == 4
    before = upkeep_box.generation(made.lookup)
    upkeep_box.replay.run()
    assert upkeep_box.generation(made.lookup) == before


def test_a_gap_is_replayed_with_all_later_rows(upkeep_box: UpkeepBox) -> None:
    upkeep_box.replay.run()
    silent = add(upkeep_box.store, new_credential())
    spoken = upkeep_box.service.issue(name="x", caller=None, by=TESTER).credential
    assert upkeep_box.replayed == 0
    before = upkeep_box.generation(silent.lookup), upkeep_box.generation(spoken.lookup)
    upkeep_box.replay.run()
    # One more each, or both if their keys have the same stripe.
    assert upkeep_box.generation(silent.lookup) > before[0]
    assert upkeep_box.generation(spoken.lookup) > before[1]
    assert upkeep_box.replayed == 2


def test_a_log_longer_than_one_batch(upkeep_box: UpkeepBox) -> None:
    with closing(sqlite3.connect(upkeep_box.path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO invalidation (lookup, at) VALUES (?, 0)",
            [(f"live_{number}",) for number in range(25_000)],
        )
        connection.execute("COMMIT")
    upkeep_box.replay.run()
    assert upkeep_box.replayed == 25_000
    assert upkeep_box.generation("live_24999") >= 1


def test_a_pruned_log_is_continued(upkeep_box: UpkeepBox) -> None:
    for _ in range(5):
        add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    upkeep_box.store.invalidations.prune(utc_now() + timedelta(days=1), below=upkeep_box.replayed)
    before = upkeep_box.shared.stripes.generation("live_other")
    upkeep_box.replay.run()
    assert upkeep_box.replayed == 5
    assert upkeep_box.shared.stripes.generation("live_other") == before
    added = add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    assert upkeep_box.replayed == 6
    assert upkeep_box.generation(added.lookup) >= 1


def test_an_older_database_in_its_place_invalidates_everything(
    upkeep_box: UpkeepBox, caplog: pytest.LogCaptureFixture
) -> None:
    """Its log ends before the last replayed row, so none of its next rows would be replayed."""
    kept = add(upkeep_box.store, new_credential())
    for _ in range(3):
        add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    with closing(sqlite3.connect(upkeep_box.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM invalidation WHERE id > 1")
        connection.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'invalidation'")
    before = upkeep_box.shared.stripes.generation("live_other")
    with caplog.at_level(logging.WARNING, logger="latchkey"):
        upkeep_box.replay.run()
    assert "the database was replaced" in caplog.text
    assert upkeep_box.shared.stripes.generation("live_other") == before + 1
    assert upkeep_box.replayed == 1
    before = upkeep_box.generation(kept.lookup)
    revoke(upkeep_box.store, kept.api_key, utc_now())
    upkeep_box.replay.run()
    assert upkeep_box.generation(kept.lookup) > before


@pytest.mark.parametrize("rows", [2, 4, 9])
def test_a_log_that_replaced_the_former_and_continued(upkeep_box: UpkeepBox, rows: int) -> None:
    """However many rows it has by then: the content of the rows shows it, not their number.

    Changes that a killed process made there are replayed, too.
    """
    for _ in range(4):
        add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    before = upkeep_box.shared.stripes.generation("live_other")
    with closing(sqlite3.connect(upkeep_box.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM invalidation WHERE id > 1")
        connection.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'invalidation'")
    changed = [add(upkeep_box.store, new_credential()) for _ in range(rows - 1)]
    generations = [upkeep_box.generation(one.lookup) for one in changed]
    upkeep_box.replay.run()
    assert upkeep_box.shared.stripes.generation("live_other") == before + 1
    assert upkeep_box.replayed == rows
    for one, generation in zip(changed, generations, strict=True):
        assert upkeep_box.generation(one.lookup) > generation


def test_a_position_in_the_log_that_was_deleted_meanwhile(upkeep_box: UpkeepBox) -> None:
    """A worker was stopped longer than rows of the log are kept; other workers continued."""
    stopped = Replay(upkeep_box.store.invalidations, upkeep_box.shared)
    add(upkeep_box.store, new_credential())
    stopped.run()
    for _ in range(3):
        add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    upkeep_box.store.invalidations.prune(utc_now() + timedelta(days=1), below=upkeep_box.replayed)
    before = upkeep_box.shared.stripes.generation("live_other")
    stopped.run()
    assert upkeep_box.shared.stripes.generation("live_other") == before + 1
    assert upkeep_box.replayed == 4
    stopped.run()
    assert upkeep_box.shared.stripes.generation("live_other") == before + 1


def test_an_empty_log(upkeep_box: UpkeepBox) -> None:
    upkeep_box.replay.run()
    assert upkeep_box.replayed == 0


def test_a_key_registered_elsewhere_is_no_longer_unknown(upkeep_box: UpkeepBox) -> None:
    """The row of a registration names a lookup key that was cached as unknown."""
    secret = derive(NEW)
    upkeep_box.replay.run()
    before = upkeep_box.generation(secret[3:30])
    publisher = Publisher(upkeep_box.store.audit, lambda lookup: None)
    other = CredentialService(upkeep_box.store, KEYS, publisher)
    other.register(f"ak_{secret[3:30]}", secret, None, by=TESTER)
    upkeep_box.replay.run()
    assert upkeep_box.generation(secret[3:30]) == before + 1
