"""Replaying the log of invalidations, over a real store and real shared words."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from latchkey.box.replay import Replay
from latchkey.credentials.models import Change
from latchkey.credentials.service import CredentialService, utc_now
from tests.audited import TESTER, new_trail
from tests.auth.upkeep_box import Box
from tests.auth.worker import derive
from tests.credentials.office import KEYS, NEW
from tests.store.conftest import new_credential


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with closing(Box(tmp_path / "latchkey.db")) as box:
        yield box


def test_what_was_only_committed_is_invalidated(box: Box) -> None:
    """As by a revoker that was killed before it came to that."""
    added = box.store.add(new_credential(), new_trail())
    before = box.generation(added.lookup)
    box.replay.run()
    assert box.generation(added.lookup) == before + 1
    box.store.revoke(added.api_key, None, utc_now(), new_trail())
    box.replay.run()
    assert box.generation(added.lookup) == before + 2
    assert box.replayed == 2


def test_what_is_replayed_is_not_replayed_again(box: Box) -> None:
    added = box.store.add(new_credential(), new_trail())
    box.replay.run()
    before = box.generation(added.lookup)
    for _ in range(3):
        box.replay.run()
    assert box.generation(added.lookup) == before


def test_what_its_maker_invalidated_is_not_replayed(box: Box) -> None:
    box.replay.run()
    made = box.service.issue(name="x", caller=None, by=TESTER).credential
    box.service.change(made.api_key, Change(name="y"), None, by=TESTER)
    box.service.rotate(made.api_key, None, by=TESTER)
    assert box.replayed == 4
    before = box.generation(made.lookup)
    box.replay.run()
    assert box.generation(made.lookup) == before


def test_a_gap_is_replayed_with_all_that_follows(box: Box) -> None:
    box.replay.run()
    silent = box.store.add(new_credential(), new_trail())
    spoken = box.service.issue(name="x", caller=None, by=TESTER).credential
    assert box.replayed == 0
    before = box.generation(silent.lookup), box.generation(spoken.lookup)
    box.replay.run()
    # One more each, or both where their keys belong to one stripe.
    assert box.generation(silent.lookup) > before[0]
    assert box.generation(spoken.lookup) > before[1]
    assert box.replayed == 2


def test_a_log_that_is_longer_than_one_part(box: Box) -> None:
    with closing(sqlite3.connect(box.path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO invalidation (lookup, at) VALUES (?, 0)",
            [(f"live_{number}",) for number in range(25_000)],
        )
        connection.execute("COMMIT")
    box.replay.run()
    assert box.replayed == 25_000
    assert box.generation("live_24999") >= 1


def test_a_log_that_was_shortened_goes_on(box: Box) -> None:
    for _ in range(5):
        box.store.add(new_credential(), new_trail())
    box.replay.run()
    box.store.invalidations.prune(utc_now() + timedelta(days=1), below=box.replayed)
    before = box.shared.stripes.generation("live_other")
    box.replay.run()
    assert box.replayed == 5
    assert box.shared.stripes.generation("live_other") == before
    added = box.store.add(new_credential(), new_trail())
    box.replay.run()
    assert box.replayed == 6
    assert box.generation(added.lookup) >= 1


def test_an_older_database_in_its_place_ends_everything(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """Its log ends before what is replayed already, so none of its next rows would be."""
    kept = box.store.add(new_credential(), new_trail())
    for _ in range(3):
        box.store.add(new_credential(), new_trail())
    box.replay.run()
    with closing(sqlite3.connect(box.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM invalidation WHERE id > 1")
        connection.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'invalidation'")
    before = box.shared.stripes.generation("live_other")
    with caplog.at_level(logging.WARNING, logger="latchkey"):
        box.replay.run()
    assert "another one" in caplog.text
    assert box.shared.stripes.generation("live_other") == before + 1
    assert box.replayed == 1
    before = box.generation(kept.lookup)
    box.store.revoke(kept.api_key, None, utc_now(), new_trail())
    box.replay.run()
    assert box.generation(kept.lookup) > before


@pytest.mark.parametrize("rows", [2, 4, 9])
def test_a_log_that_took_the_place_of_the_former_and_went_on(box: Box, rows: int) -> None:
    """However far it has come before anybody looked; its own rows are the sign, not their number.

    What was changed there by somebody who was killed is heard of, too.
    """
    for _ in range(4):
        box.store.add(new_credential(), new_trail())
    box.replay.run()
    before = box.shared.stripes.generation("live_other")
    with closing(sqlite3.connect(box.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM invalidation WHERE id > 1")
        connection.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'invalidation'")
    changed = [box.store.add(new_credential(), new_trail()) for _ in range(rows - 1)]
    generations = [box.generation(one.lookup) for one in changed]
    box.replay.run()
    assert box.shared.stripes.generation("live_other") == before + 1
    assert box.replayed == rows
    for one, generation in zip(changed, generations, strict=True):
        assert box.generation(one.lookup) > generation


def test_a_place_in_the_log_that_was_deleted_meanwhile(box: Box) -> None:
    """A worker was stopped for longer than the log is kept; others went on."""
    stopped = Replay(box.store.invalidations, box.shared)
    box.store.add(new_credential(), new_trail())
    stopped.run()
    for _ in range(3):
        box.store.add(new_credential(), new_trail())
    box.replay.run()
    box.store.invalidations.prune(utc_now() + timedelta(days=1), below=box.replayed)
    before = box.shared.stripes.generation("live_other")
    stopped.run()
    assert box.shared.stripes.generation("live_other") == before + 1
    assert box.replayed == 4
    stopped.run()
    assert box.shared.stripes.generation("live_other") == before + 1


def test_an_empty_log(box: Box) -> None:
    box.replay.run()
    assert box.replayed == 0


def test_what_is_registered_elsewhere_is_no_longer_unknown(box: Box) -> None:
    """The row of a registration names what was remembered as unknown."""
    secret = derive(NEW)
    box.replay.run()
    before = box.generation(secret[3:30])
    other = CredentialService(box.store, KEYS, lambda lookup: None)
    other.register(f"ak_{secret[3:30]}", secret, None, by=TESTER)
    box.replay.run()
    assert box.generation(secret[3:30]) == before + 1
