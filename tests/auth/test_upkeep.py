"""Writing counts down, and the threads that do that and replay, over a real store."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from latchkey.box.counted import Use
from latchkey.box.flush import INTERVAL, Flush
from latchkey.box.replay import Replay
from latchkey.box.shared import Word
from latchkey.box.upkeep import Upkeep
from latchkey.box.use_counts import LiveTallies
from latchkey.credentials.models import Tally
from latchkey.credentials.service import utc_now
from latchkey.store import Store
from tests.audited import new_trail
from tests.auth.upkeep_box import Box
from tests.auth.worker import PATIENCE, Running, Time
from tests.faults.processes import other_process, wait_until
from tests.store.conftest import new_credential


def nothing() -> None:
    pass


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with closing(Box(tmp_path / "latchkey.db")) as box:
        yield box


# ---- Flush


def test_one_worker_writes_in_each_interval(box: Box) -> None:
    added = box.store.add(new_credential(), new_trail())
    workers = [box.flush() for _ in range(3)]
    for interval in range(1, 4):
        box.shared.count_use(added.id)
        for worker in workers:
            worker.run_if_due()
        assert box.written(added) == interval
        # Counted after this interval's flush.
        box.shared.count_use(added.id)
        for worker in workers:
            worker.run_if_due()
        assert box.written(added) == interval
        box.shared.uses.add(added.id, Use.USES, 2**64 - 1)
        box.timer.now += INTERVAL


def test_a_flusher_that_never_comes_back_costs_one_interval(box: Box) -> None:
    """It was killed, or stopped, after it was elected."""
    added = box.store.add(new_credential(), new_trail())
    box.shared.count_use(added.id)
    elected_until = round(box.timer.now * 1000) + round(INTERVAL * 1000)
    assert box.shared.words.compare_exchange(Word.FLUSH_DUE, 0, elected_until)
    other = box.flush()
    other.run_if_due()
    assert box.written(added) == 0
    box.timer.now += INTERVAL
    other.run_if_due()
    assert box.written(added) == 1


def test_only_what_moved_is_written(box: Box) -> None:
    one, other = (box.store.add(new_credential(), new_trail()) for _ in range(2))
    box.shared.count_use(one.id)
    assert [tally.credential_id for tally in box.tallies.unwritten()] == [one.id]
    box.tallies.written(box.tallies.unwritten())
    assert box.tallies.unwritten() == []
    box.shared.count_refusal(other.id, Use.SCOPE)
    box.shared.count_use(one.id)
    assert [
        (tally.credential_id, tally.uses, tally.scope) for tally in box.tallies.unwritten()
    ] == [
        (one.id, 2, 0),
        (other.id, 0, 1),
    ]
    assert box.tallies.tally(10**6) == Tally(10**6)


def test_a_failed_flush_is_made_up_for(box: Box) -> None:
    added = box.store.add(new_credential(), new_trail())
    box.store.close()
    box.store = Store(f"sqlite:///{box.path}", write_timeout=0.05)
    worker = box.flush()
    upkeep = Upkeep(box.replay, worker, nothing)
    box.shared.count_use(added.id)
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    with other_process(hold, str(box.path)):
        upkeep.tidy()
        assert box.written(added) == 0
    box.timer.now += INTERVAL
    upkeep.tidy()
    assert box.written(added) == 1


def test_a_backup_that_is_restored_while_serving(box: Box) -> None:
    """What was used since it was made is written down there too, to whom it belongs."""
    tallies = LiveTallies(box.shared)
    box.replay = Replay(box.store.invalidations, box.shared, tallies.forget_written)
    tallies.segment = box.tallies.segment
    flush = Flush(box.store.usage, box.store.invalidations, box.shared, tallies, timer=box.timer)
    kept = box.store.add(new_credential(), new_trail())
    box.shared.count_use(kept.id)
    flush.run()
    backup = box.path.with_name("backup")
    with closing(sqlite3.connect(box.path)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    lost = box.store.add(new_credential(), new_trail())
    for _ in range(5):
        box.shared.count_use(kept.id)
        box.shared.count_use(lost.id)
    box.replay.run()
    flush.run()
    assert (box.written(kept), box.written(lost)) == (6, 5)
    with closing(sqlite3.connect(backup)) as copy, closing(sqlite3.connect(box.path)) as used:
        copy.backup(used)
    assert box.written(kept) == 1
    box.replay.run()
    flush.run()
    assert box.written(kept) == 6
    heir = box.store.add(new_credential(), new_trail())
    assert heir.id == lost.id
    box.shared.count_use(heir.id)
    flush.run()
    assert (box.written(kept), box.written(heir)) == (6, 1)


def test_the_log_is_shortened_after_a_while(box: Box) -> None:
    worker = box.flush()
    old = utc_now() - timedelta(hours=2)
    for created_at in (old, old, old, utc_now()):
        box.store.add(new_credential(created_at=created_at), new_trail())
    for now in (1, 400, 800):
        box.timer.now = 1_000_000 + now
        worker.run_if_due()
        if now == 400:
            # Nobody has replayed them yet.
            assert len(box.store.invalidations.after(0)) == 4
            box.replay.run()
    assert [row.number for row in box.store.invalidations.after(0)] == [4]


def test_old_hours_are_put_together_after_a_while(box: Box) -> None:
    """Once a day, by a worker that has lived for some minutes."""
    added = box.store.add(new_credential(), new_trail())
    worker = box.flush()
    day = utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=92)
    hours = [day + timedelta(hours=hour) for hour in (3, 5)]

    def use_long_ago() -> None:
        with closing(sqlite3.connect(box.path, isolation_level=None)) as connection:
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
        box.timer.now = 1_000_000 + now
        worker.run_if_due()
        uses.append(list(box.store.usage.record(added.id, "").hours.values()))
    assert uses == [[2, 2], [4], [4, 2, 2], [4, 2, 2], [8]]


# ---- The threads


def test_the_thread_replays_and_writes_until_it_is_stopped(box: Box) -> None:
    box.timer = Time(0)
    added = box.store.add(new_credential(), new_trail())
    upkeep = Upkeep(box.replay, box.flush(), nothing)
    upkeep.start()
    assert box.replayed == 1
    box.store.revoke(added.api_key, None, utc_now(), new_trail())
    wait_until(lambda: box.replayed == 2, "the replay")
    box.shared.count_use(added.id)
    upkeep.stop()
    assert box.written(added) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "latchkey-upkeep"]


def test_a_flush_that_waits_does_not_hold_the_replay_up(box: Box) -> None:
    """Somebody writes for long: reading goes on, and what was changed before is heard of."""
    added = box.store.add(new_credential(), new_trail())
    box.store.close()
    box.store = Store(f"sqlite:///{box.path}", write_timeout=PATIENCE)
    box.replay = Replay(box.store.invalidations, box.shared)
    box.timer = Time(0)
    upkeep = Upkeep(box.replay, box.flush(), nothing)
    box.shared.count_use(added.id)
    hold = (
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE')\nc.execute('COMMIT')\nc.execute('BEGIN IMMEDIATE')\n"
    )
    with other_process(hold, str(box.path)):
        flushing = Running(upkeep.tidy)
        wait_until(lambda: bool(box.shared.words.value(Word.FLUSH_DUE)), "the flush to begin")
        upkeep.start()
        assert box.replayed == 1
        box.shared.words.compare_exchange(Word.REPLAYED, 1, 0)
        wait_until(lambda: box.replayed == 1, "the replay")
        assert box.written(added) == 0
    flushing.value()
    upkeep.stop()
    assert box.written(added) == 1


def test_a_fault_is_logged_once_and_the_thread_goes_on(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    upkeep = Upkeep(box.replay, box.flush(), nothing)
    away = box.path.with_name("away")
    with caplog.at_level(logging.ERROR, logger="latchkey"):
        for _ in range(2):
            box.path.rename(away)
            for _ in range(3):
                upkeep.replay()
            away.rename(box.path)
            upkeep.replay()
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "invalidations cannot be replayed" in line] == [
        "invalidations cannot be replayed, which is tried again: "
        "cannot find the database file: No such file or directory"
    ] * 2
    added = box.store.add(new_credential(), new_trail())
    upkeep.replay()
    assert box.generation(added.lookup) == 1
