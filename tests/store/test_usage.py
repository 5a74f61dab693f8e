"""Uses persisted from cumulative counters: each exactly once, even if flushers are killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from latchkey.credentials.models import Tally
from latchkey.errors import StoreError
from latchkey.store.protocols import Store
from tests.support.audited import add
from tests.support.faults.service_processes import other_process
from tests.support.store.new_credentials import NOW, NewStore, new_credential
from tests.support.store.tallies import HOUR, SEGMENT, tally, total


def test_many_credentials_at_once(store: Store, database: Path) -> None:
    numbers = range(1, 1_301)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO credential (id, api_key, secret_hash, derivation_id, account_id, mode, "
            "scopes, created_at) "
            "VALUES (?, ?, zeroblob(32), '', (SELECT id FROM account), 'live', '*', 0)",
            [(number, f"ak_live_{number:022}") for number in numbers],
        )
        connection.execute("COMMIT")
    for factor in (1, 3):
        store.usage.flush(SEGMENT, (tally(number, number * factor) for number in numbers), NOW)
    with closing(sqlite3.connect(database)) as connection:
        written = connection.execute("SELECT credential_id, sum(uses) FROM usage GROUP BY 1")
        assert dict(written.fetchall()) == {number: number * 3 for number in numbers}


def test_any_number_of_credentials_is_persisted_by_the_same_statements(store: Store) -> None:
    """Each connection caches every statement that it has prepared."""
    numbers = [add(store, new_credential()).id for _ in range(4)]
    seen: list[set[str]] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen[-1].add(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for uses, count in enumerate((1, 2, 4), 1):
            seen.append(set())
            store.usage.flush(SEGMENT, [tally(of, uses) for of in numbers[:count]], NOW)
            assert store.usage.fold(NOW.replace(hour=0) + timedelta(days=1)) == count
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert seen[0]
    assert seen[0] == seen[1] == seen[2]


def test_nothing_new_takes_no_lock(new_store: NewStore, database: Path) -> None:
    """A long write, such as a backup, is not blocked by it, and does not block it."""
    store = new_store(write_timeout=0.05)
    number = add(store, new_credential()).id
    store.usage.flush(SEGMENT, [tally(number, 5)], NOW)
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    with other_process(hold, str(database)):
        store.usage.flush(SEGMENT, [tally(number, 5)], NOW)
        with pytest.raises(StoreError):
            store.usage.flush(SEGMENT, [tally(number, 6)], NOW)
        assert store.usage.record(number, SEGMENT).watermark.uses == 5
    store.usage.flush(SEGMENT, [tally(number, 6)], NOW)
    assert total(store, number) == 6


def test_hours_of_many_credentials_are_folded(store: Store, database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO usage (credential_id, hour, uses) VALUES (?, ?, 1)",
            [(number, hour * HOUR) for number in range(1_200) for hour in range(1, 4)],
        )
        connection.execute("COMMIT")
        assert store.usage.fold(NOW) == 3_600
        written = connection.execute("SELECT count(*), sum(uses), max(hour) FROM usage")
        assert written.fetchone() == (1_200, 3_600, 0)


# Forks two flushers for each line, so that modules are loaded once; reports the end of both.
_FLUSHERS = """
import itertools, os, sys
from datetime import UTC, datetime
from latchkey.credentials.models import Tally
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store

def flush(start, count):
    store = database_at(f"sqlite:///{sys.argv[1]}").open_store()
    for uses in itertools.count(start):
        now = datetime.now(UTC)
        at = int(now.timestamp() * 1000)
        store.usage.flush("1" * 32, [Tally(n, uses, at) for n in range(1, count + 1)], now)
        os.write(1, b"%d %d\\n" % (os.getpid(), uses))

for line in sys.stdin:
    started = []
    for _ in range(2):
        started.append(os.fork())
        if started[-1] == 0:
            try:
                flush(int(line), int(sys.argv[2]))
            finally:
                os._exit(1)
    ended = [os.WTERMSIG(os.waitpid(pid, 0)[1]) for pid in started]
    os.write(1, b"ended %d %d\\n" % tuple(ended))
"""


@contextmanager
def killed(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill it at the end; its children end when their output is no longer read."""
    try:
        yield
    finally:
        process.kill()


def test_concurrent_flushers_are_killed_one_after_another(
    store: Store, database: Path, long: bool
) -> None:
    """Two processes flush the same growing counters; they are killed at random moments."""
    generator = random.Random(4)
    numbers = [add(store, new_credential()).id for _ in range(20)]
    reached = 1
    with (
        subprocess.Popen(
            [sys.executable, "-c", _FLUSHERS, str(database), str(len(numbers))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as flushers,
        killed(flushers),
    ):
        assert flushers.stdin is not None
        assert flushers.stdout is not None
        for _ in range(60 if long else 8):
            print(reached, file=flushers.stdin, flush=True)
            written: Counter[int] = Counter()
            enough = generator.randrange(2, 7)
            while len(written) < 2 or written.total() < enough:
                process, reached_there = map(int, flushers.stdout.readline().split())
                written[process] += 1
                reached = max(reached, reached_there)
            for process in written:
                os.kill(process, signal.SIGKILL)
            while not (line := flushers.stdout.readline()).startswith("ended"):
                reached = max(reached, int(line.split()[1]))
            assert line == "ended 9 9\n"
    # Commits that a killed process did not report are in the counters, too.
    reached += 2
    store.usage.flush(SEGMENT, [tally(number, reached) for number in numbers], NOW)
    for number in numbers:
        assert total(store, number) == reached
        assert store.usage.record(number, SEGMENT).watermark == replace(Tally(number), uses=reached)
