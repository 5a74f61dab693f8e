"""Quotas while the clock moves and the database is put back, in threads over several segments."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from fastcache.shared import Counters
from latchkey.box.counter_names import Count
from latchkey.box.limit_tables import LimitTables
from latchkey.box.shared import SharedState
from latchkey.check._limits import LimitOutcome, LimitPlan
from latchkey.check.limiting import Limiter
from latchkey.credentials.limits import quota_limit
from latchkey.errors import QuotaExceeded
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store
from tests.support.audited import add, new_seal
from tests.support.database import new_database
from tests.support.faults.service_processes import wait_until
from tests.support.store.new_credentials import new_credential

pytestmark = pytest.mark.attack

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
QUOTA = 300
SEGMENTS = ("a" * 32, "b" * 32)
THREADS = 2
"""The threads of each segment."""


class Clock:
    """The wall clock of all threads."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def set_day(self, day: int) -> None:
        """Set it to a day after (or before) the first one."""
        self.now = NOON + timedelta(days=day)


class ClockedPlan:
    """The plan of a quota, which uses a test's clock instead of the machine's."""

    def __init__(self, plan: LimitPlan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock

    def __getattr__(self, name: str) -> object:
        return getattr(self._plan, name)

    def take(self, tables: LimitTables, cost: int = 1) -> LimitOutcome:
        return self._plan.take(tables, cost, now=int(self._clock.now.timestamp() * 1000))

    def look(self, tables: LimitTables, cost: int = 1) -> LimitOutcome:
        return self._plan.look(tables, cost, now=int(self._clock.now.timestamp() * 1000))


class Spenders:
    """Threads of several segments that spend one daily quota as fast as they can."""

    def __init__(self, database: Path, segments: Sequence[str] = SEGMENTS) -> None:
        url = new_database(database)
        self.store: Store = database_at(url).open_store(seal=new_seal(database))
        self.clock = Clock()
        limit = quota_limit("calls", QUOTA, "day")
        key = add(self.store, new_credential(limits=(limit,), created_at=NOON))
        self.plan = cast("LimitPlan", ClockedPlan(LimitPlan(key.limits), self.clock))
        self.limiters = [
            Limiter(
                SharedState.private().limits,
                self.store.limits,
                segment,
                Counters([count.name.lower() for count in Count]),
                lambda number, use: None,
                clock=self.clock,
                # A refusal is never remembered.
                timer=iter(range(10**9)).__next__,
            )
            for segment in segments
        ]
        self._stop = threading.Event()
        # Per thread: how many units it took, and how many refusals it got since.
        self._admitted = [0] * len(segments) * THREADS
        self._refused = [0] * len(segments) * THREADS
        self._failed: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._spend, args=(number,), daemon=True)
            for number in range(len(self._admitted))
        ]

    def __enter__(self) -> Spenders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        self.store.close()
        assert self._failed == []

    @property
    def admitted(self) -> int:
        return sum(self._admitted)

    def await_refusals(self) -> None:
        """Wait until every thread has been refused again, twice."""
        before = list(self._refused)
        wait_until(
            lambda: (
                bool(self._failed)
                or all(now >= then + 2 for now, then in zip(self._refused, before, strict=True))
            ),
            "refusals",
            pause=0.002,
        )

    def await_more(self, count: int) -> None:
        """Wait until this many units more were spent, or everything was."""
        before = self.admitted
        refused = list(self._refused)
        wait_until(
            lambda: self.admitted >= before + count or self._refused != refused,
            "units",
            pause=0.0005,
        )

    def _spend(self, number: int) -> None:
        limiter = self.limiters[number % len(self.limiters)]
        try:
            while not self._stop.is_set():
                try:
                    limiter.take(self.plan, 1)
                    self._admitted[number] += 1
                except QuotaExceeded:
                    self._refused[number] += 1
                    self._stop.wait(0.001)
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            self._failed.append(error)


@pytest.fixture
def spenders(tmp_path: Path) -> Iterator[Spenders]:
    with Spenders(tmp_path / "latchkey.db") as made:
        yield made


def test_each_day_has_its_quota_and_no_day_comes_again(spenders: Spenders) -> None:
    """Each quota is admitted completely and only once, whichever way the clock is set."""
    latest = 0
    spenders.await_refusals()
    assert spenders.admitted == QUOTA
    for day in (1, 0, -400, 3, 2, 4):
        before = spenders.admitted
        spenders.clock.set_day(day)
        spenders.await_refusals()
        assert spenders.admitted - before == (QUOTA if day > latest else 0)
        latest = max(latest, day)


@pytest.mark.long
def test_no_day_has_more_than_its_quota_while_the_clock_jumps(
    spenders: Spenders, long: bool
) -> None:
    rng = random.Random(28)
    latest = 0
    begun = 1
    for _ in range(1000 if long else 15):
        spenders.await_more(rng.randrange(QUOTA // 2))
        day = latest + rng.choice((-1, 0, 0, 1, 1, 2))
        if day > latest:
            latest, begun = day, begun + 1
        spenders.clock.set_day(day)
    spenders.await_refusals()
    assert spenders.admitted <= begun * QUOTA


def test_a_database_that_is_put_back_grows_no_quota(tmp_path: Path) -> None:
    """What the running segment knows to be spent is charged again."""
    database, backup = tmp_path / "latchkey.db", tmp_path / "backup.db"
    with Spenders(database, SEGMENTS[:1]) as spenders:
        spenders.await_more(30)
        copy(database, backup)
        spenders.await_more(60)
        copy(backup, database)
        spenders.await_refusals()
        assert spenders.admitted == QUOTA
        spenders.clock.set_day(1)
        spenders.await_more(60)
        copy(backup, database)
        spenders.await_refusals()
        assert spenders.admitted == 2 * QUOTA


def copy(source: Path, target: Path) -> None:
    """Copy a database that is in use, as SQLite's own backup does."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
