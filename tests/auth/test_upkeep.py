"""Flushing counts, and the threads that flush and replay, with a real store."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from latchkey.box.counter_names import Use
from latchkey.box.flush import INTERVAL, Flush
from latchkey.box.replay import Replay
from latchkey.box.retention import Periods, Retention
from latchkey.box.shared import Word
from latchkey.box.upkeep import Upkeep
from latchkey.box.use_counts import LiveTallies
from latchkey.config import Settings
from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.audit_erasure import Bounds
from latchkey.credentials.models import Sighting, Tally
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.times import utc_now
from latchkey.store.database_urls import database_at
from tests.support.audited import add, record, revoke
from tests.support.auth.upkeep_box import UpkeepBox
from tests.support.auth.worker import PATIENCE, Running, Time
from tests.support.faults.service_processes import other_process, wait_until
from tests.support.store.new_credentials import new_credential


def nothing() -> None:
    pass


# ---- Flush


def test_one_worker_flushes_in_each_interval(upkeep_box: UpkeepBox) -> None:
    added = add(upkeep_box.store, new_credential())
    workers = [upkeep_box.flush() for _ in range(3)]
    for interval in range(1, 4):
        upkeep_box.shared.count_use(added.id)
        for worker in workers:
            worker.run_if_due()
        assert upkeep_box.written(added) == interval
        # Counted after the flush of this interval.
        upkeep_box.shared.count_use(added.id)
        for worker in workers:
            worker.run_if_due()
        assert upkeep_box.written(added) == interval
        upkeep_box.shared.uses.add(added.id, Use.USES, 2**64 - 1)
        upkeep_box.timer.now += INTERVAL


def test_a_flusher_that_never_returns_delays_one_interval(upkeep_box: UpkeepBox) -> None:
    """It was killed or stopped after it had started."""
    added = add(upkeep_box.store, new_credential())
    upkeep_box.shared.count_use(added.id)
    elected_until = round(upkeep_box.timer.now * 1000) + round(INTERVAL * 1000)
    assert upkeep_box.shared.words.compare_exchange(Word.FLUSH_DUE, 0, elected_until)
    other = upkeep_box.flush()
    other.run_if_due()
    assert upkeep_box.written(added) == 0
    upkeep_box.timer.now += INTERVAL
    other.run_if_due()
    assert upkeep_box.written(added) == 1


def test_only_changed_tallies_are_flushed(upkeep_box: UpkeepBox) -> None:
    one, other = (add(upkeep_box.store, new_credential()) for _ in range(2))
    upkeep_box.shared.count_use(one.id)
    assert [tally.credential_id for tally in upkeep_box.tallies.unwritten()] == [one.id]
    upkeep_box.tallies.written(upkeep_box.tallies.unwritten())
    assert upkeep_box.tallies.unwritten() == []
    upkeep_box.shared.count_refusal(other.id, Use.SCOPE)
    upkeep_box.shared.count_use(one.id)
    assert [
        (tally.credential_id, tally.uses, tally.scope) for tally in upkeep_box.tallies.unwritten()
    ] == [
        (one.id, 2, 0),
        (other.id, 0, 1),
    ]
    assert upkeep_box.tallies.tally(10**6) == Tally(10**6)


def test_a_failed_flush_is_retried(upkeep_box: UpkeepBox) -> None:
    added = add(upkeep_box.store, new_credential())
    upkeep_box.store.close()
    upkeep_box.store = database_at(f"sqlite:///{upkeep_box.path}").open_store(write_timeout=0.05)
    worker = upkeep_box.flush()
    upkeep = Upkeep(upkeep_box.replay, worker, nothing)
    upkeep_box.shared.count_use(added.id)
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    with other_process(hold, str(upkeep_box.path)):
        upkeep.tidy()
        assert upkeep_box.written(added) == 0
    upkeep_box.timer.now += INTERVAL
    upkeep.tidy()
    assert upkeep_box.written(added) == 1


def test_a_backup_restored_while_serving(upkeep_box: UpkeepBox) -> None:
    """Uses since the backup are persisted there, too, for the correct credentials."""
    tallies = LiveTallies(upkeep_box.shared)
    upkeep_box.replay = Replay(
        upkeep_box.store.invalidations, upkeep_box.shared, tallies.forget_written
    )
    tallies.segment = upkeep_box.tallies.segment
    flush = Flush(
        upkeep_box.store.usage,
        upkeep_box.store.invalidations,
        upkeep_box.shared,
        tallies,
        timer=upkeep_box.timer,
    )
    kept = add(upkeep_box.store, new_credential())
    upkeep_box.shared.count_use(kept.id)
    flush.run()
    backup = upkeep_box.path.with_name("backup")
    with (
        closing(sqlite3.connect(upkeep_box.path)) as source,
        closing(sqlite3.connect(backup)) as copy,
    ):
        source.backup(copy)
    lost = add(upkeep_box.store, new_credential())
    for _ in range(5):
        upkeep_box.shared.count_use(kept.id)
        upkeep_box.shared.count_use(lost.id)
    upkeep_box.replay.run()
    flush.run()
    assert (upkeep_box.written(kept), upkeep_box.written(lost)) == (6, 5)
    with (
        closing(sqlite3.connect(backup)) as copy,
        closing(sqlite3.connect(upkeep_box.path)) as used,
    ):
        copy.backup(used)
    assert upkeep_box.written(kept) == 1
    upkeep_box.replay.run()
    flush.run()
    assert upkeep_box.written(kept) == 6
    heir = add(upkeep_box.store, new_credential())
    assert heir.id == lost.id
    upkeep_box.shared.count_use(heir.id)
    flush.run()
    assert (upkeep_box.written(kept), upkeep_box.written(heir)) == (6, 1)


def test_the_log_is_pruned_after_a_while(upkeep_box: UpkeepBox) -> None:
    worker = upkeep_box.flush()
    old = utc_now() - timedelta(hours=2)
    for created_at in (old, old, old, utc_now()):
        add(upkeep_box.store, new_credential(created_at=created_at))
    for now in (1, 400, 800):
        upkeep_box.timer.now = 1_000_000 + now
        worker.run_if_due()
        if now == 400:
            # They have not been replayed yet.
            assert len(upkeep_box.store.invalidations.after(0)) == 4
            upkeep_box.replay.run()
    assert [row.number for row in upkeep_box.store.invalidations.after(0)] == [4]


def test_old_hours_are_folded_after_a_while(upkeep_box: UpkeepBox) -> None:
    """Once per day, by a worker that has run for some minutes."""
    added = add(upkeep_box.store, new_credential())
    worker = upkeep_box.flush()
    day = utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=92)
    hours = [day + timedelta(hours=hour) for hour in (3, 5)]

    def use_long_ago() -> None:
        with closing(sqlite3.connect(upkeep_box.path, isolation_level=None)) as connection:
            for moment in hours:
                connection.execute(
                    "INSERT INTO usage VALUES (?, ?, 2)",
                    (added.id, round(moment.timestamp() * 1000)),
                )

    use_long_ago()
    uses = []
    for now in (1, 400, 800, 86_000, 87_000):
        if now == 800:
            use_long_ago()
        upkeep_box.timer.now = 1_000_000 + now
        worker.run_if_due()
        uses.append(list(upkeep_box.store.usage.record(added.id, "").hours.values()))
    assert uses == [[2, 2], [4], [4, 2, 2], [4, 2, 2], [8]]


def test_what_has_expired_is_removed_every_hour(upkeep_box: UpkeepBox) -> None:
    calls: list[datetime] = []
    worker = Flush(
        upkeep_box.store.usage,
        upkeep_box.store.invalidations,
        upkeep_box.shared,
        upkeep_box.tallies,
        retain=calls.append,
        timer=upkeep_box.timer,
    )
    counts = []
    for now in (297, 300, 303, 3_895, 3_905, 3_908):
        upkeep_box.timer.now = 1_000_000 + now
        worker.run_if_due()
        counts.append(len(calls))
    assert counts == [0, 1, 1, 1, 2, 2]
    assert {call.tzinfo for call in calls} == {UTC}


def test_the_retention_applies_whole_days(upkeep_box: UpkeepBox) -> None:
    now = utc_now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    added = add(upkeep_box.store, new_credential())
    old = Sighting("192.0.2.1", midnight - timedelta(days=7, seconds=1))
    young = Sighting("192.0.2.2", midnight - timedelta(days=7))
    upkeep_box.store.usage.flush("s", [Tally(added.id, uses=2, sightings=(young, old))], now)
    for one in (old, young):
        actor = Actor.administrator("ann", one.address)
        record(upkeep_box.store, AuditEvent(one.at, Action.ADMIN_SIGN_IN, actor, "ann"))
    settings = Settings(audit_address_days="7", audit_detail_days="7")
    retention = Retention(
        Periods.of(settings),
        upkeep_box.store.audit,
        upkeep_box.store.usage,
        Publisher(upkeep_box.store.audit),
    )
    retention.apply(now)
    retention.apply(now)
    assert upkeep_box.store.usage.record(added.id, "s").sightings == (young,)
    rows = list(upkeep_box.store.audit.entries())[1:]
    assert [row.address for row in rows] == [None, young.address, None]
    assert [row.detail for row in rows[:2]] == ["", "{}"]
    assert rows[2].action == "audit.expire"
    assert upkeep_box.store.audit.verify().findings == []


def test_without_settings_everything_is_kept(upkeep_box: UpkeepBox) -> None:
    assert Periods.of(Settings()).bounds(utc_now()) == Bounds()


# ---- The threads


def test_the_threads_replay_and_flush_until_they_are_stopped(upkeep_box: UpkeepBox) -> None:
    upkeep_box.timer = Time(0)
    added = add(upkeep_box.store, new_credential())
    upkeep = Upkeep(upkeep_box.replay, upkeep_box.flush(), nothing)
    upkeep.start()
    assert upkeep_box.replayed == 1
    revoke(upkeep_box.store, added.api_key, utc_now())
    wait_until(lambda: upkeep_box.replayed == 2, "the replay")
    upkeep_box.shared.count_use(added.id)
    upkeep.stop()
    assert upkeep_box.written(added) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "latchkey-upkeep"]


def test_a_waiting_flush_does_not_delay_the_replay(upkeep_box: UpkeepBox) -> None:
    """Another process writes for a long time: reads continue, and earlier changes are replayed."""
    added = add(upkeep_box.store, new_credential())
    upkeep_box.store.close()
    upkeep_box.store = database_at(f"sqlite:///{upkeep_box.path}").open_store(
        write_timeout=PATIENCE
    )
    upkeep_box.replay = Replay(upkeep_box.store.invalidations, upkeep_box.shared)
    upkeep_box.timer = Time(0)
    upkeep = Upkeep(upkeep_box.replay, upkeep_box.flush(), nothing)
    upkeep_box.shared.count_use(added.id)
    hold = (
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE')\nc.execute('COMMIT')\nc.execute('BEGIN IMMEDIATE')\n"
    )
    with other_process(hold, str(upkeep_box.path)):
        flushing = Running(upkeep.tidy)
        wait_until(
            lambda: bool(upkeep_box.shared.words.value(Word.FLUSH_DUE)), "the flush to begin"
        )
        upkeep.start()
        assert upkeep_box.replayed == 1
        upkeep_box.shared.words.compare_exchange(Word.REPLAYED, 1, 0)
        wait_until(lambda: upkeep_box.replayed == 1, "the replay")
        assert upkeep_box.written(added) == 0
    flushing.value()
    upkeep.stop()
    assert upkeep_box.written(added) == 1


def test_a_fault_is_logged_once_and_the_thread_continues(
    upkeep_box: UpkeepBox, caplog: pytest.LogCaptureFixture
) -> None:
    upkeep = Upkeep(upkeep_box.replay, upkeep_box.flush(), nothing)
    away = upkeep_box.path.with_name("away")
    with caplog.at_level(logging.ERROR, logger="latchkey"):
        for _ in range(2):
            upkeep_box.path.rename(away)
            for _ in range(3):
                upkeep.replay()
            away.rename(upkeep_box.path)
            upkeep.replay()
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "invalidations cannot be replayed" in line] == [
        "invalidations cannot be replayed; it will be retried: "
        "cannot find the database file: No such file or directory"
    ] * 2
    added = add(upkeep_box.store, new_credential())
    upkeep.replay()
    assert upkeep_box.generation(added.lookup) == 1
