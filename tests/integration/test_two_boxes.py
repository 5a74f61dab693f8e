"""Boxes with one real PostgreSQL: confirmations, notifications, outages and a rewound log.

They run in this process, each with its own memory, threads and connections.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from latchkey.box.counter_names import Count
from latchkey.box.shared import Word
from latchkey.check.headers import Presented, read_plain
from latchkey.config import load_settings
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.limits import Limit, quota_limit, rate_limit
from latchkey.credentials.times import utc_now
from latchkey.errors import ChangesBusy, LimitReached, RevokedCredential, StoreError
from latchkey.parts import Parts
from latchkey.store.protocols import BoxStore
from tests.support.audited import TESTER, new_seal
from tests.support.auth.worker import PATIENCE, Running
from tests.support.faults.service_processes import wait_until
from tests.support.postgresql import Postgresql, started

KEYS = DerivationKeys([DerivationKey(b"1" * 32)], [])


class Boxes:
    """Boxes that share the database of a URL."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._url = url
        self._running: list[Parts] = []

    def start(self, name: str, **settings: str) -> Parts:
        """Start a box with one worker; it has a lease then."""
        given = {
            "LATCHKEY_DATABASE_URL": self._url,
            "LATCHKEY_BOX_NAME": name,
            "LATCHKEY_AUDIT_HEAD_FILE": str(self._directory / f"{name}.head"),
            "LATCHKEY_LEASE": "15",
            **settings,
        }
        seal = new_seal(self._directory / name)
        parts = Parts.from_settings(load_settings(given), KEYS, seal=seal)
        self._running.append(parts)
        parts.upkeep.start()
        wait_until(parts.shared.has_lease, "the lease")
        return parts

    def stop(self) -> None:
        for parts in self._running:
            parts.upkeep.stop()
            parts.store.close()


@pytest.fixture
def boxes(tmp_path: Path, postgresql_url: str) -> Iterator[Boxes]:
    made = Boxes(tmp_path, postgresql_url)
    yield made
    made.stop()


def registered(parts: Parts) -> BoxStore:
    assert parts.store.boxes is not None
    return parts.store.boxes


def live(parts: Parts) -> set[str]:
    return {box.name for box in registered(parts).live()}


def issue(parts: Parts) -> Presented:
    issued = parts.credentials.issue(name="test", caller=None, scopes=frozenset({"*"}), by=TESTER)
    return read_plain(issued.secret)


def revoke(parts: Parts, presented: Presented) -> None:
    parts.credentials.revoke(f"ak_{presented.lookup}", None, by=TESTER)


def is_refused(parts: Parts, presented: Presented) -> bool:
    try:
        parts.authenticator.authenticate(presented)
    except RevokedCredential:
        return True
    return False


def is_cached(parts: Parts, presented: Presented) -> bool:
    """Whether a check needs no SELECT."""
    selects = parts.authenticator.counters.value
    before = selects(Count.STORE_SELECT)
    parts.authenticator.authenticate(presented)
    return selects(Count.STORE_SELECT) == before


def await_cached(parts: Parts, presented: Presented) -> None:
    wait_until(lambda: is_cached(parts, presented), "the cache")


def test_a_change_is_effective_in_every_box_before_it_is_answered(boxes: Boxes) -> None:
    parts = [boxes.start(name) for name in ("east", "west", "south")]
    for turn in range(12):
        presented = issue(parts[turn % 3])
        for one in parts:
            await_cached(one, presented)
        revoke(parts[(turn + 1) % 3], presented)
        assert all(is_refused(one, presented) for one in parts)
    assert live(parts[0]) == {"east", "west", "south"}
    assert {box.revision for box in registered(parts[0]).live()} == {registered(parts[0]).revision}


def test_changes_notify_and_confirmations_do_not(boxes: Boxes) -> None:
    east = boxes.start("east")
    wakeups = registered(east).open_wakeups()
    assert wakeups is not None
    presented = issue(east)
    assert wakeups.wait(PATIENCE)
    while wakeups.wait(0):
        pass
    # The box polls and confirms several times, and persists use counts.
    east.authenticator.authenticate(presented)
    east.shared.count_use(1)
    east.upkeep.replay()
    east.upkeep.tidy()
    assert not wakeups.wait(0.5)
    revoke(east, presented)
    assert wakeups.wait(PATIENCE)
    wakeups.close()


def test_a_box_that_does_not_confirm_delays_one_change(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "latchkey")
    east = boxes.start("east", LATCHKEY_LEASE="1")
    west = boxes.start("west", LATCHKEY_LEASE="1")
    first, second = issue(east), issue(east)
    await_cached(west, first)
    # Its thread is stopped, and its connections are idle.
    west.upkeep.stop()
    revoke(east, first)
    assert is_refused(west, first)
    assert live(east) == {"east"}
    assert "marked as cut off: west" in caplog.text
    caplog.clear()
    revoke(east, second)
    assert is_refused(west, second)
    assert caplog.text == ""
    # It comes back under a new id, and uses its cache again.
    third = issue(east)
    west.upkeep.replay()
    assert live(east) == {"east", "west"}
    west.authenticator.authenticate(third)
    assert is_cached(west, third)


def test_waiting_holds_nothing_of_the_database_and_few_threads(
    boxes: Boxes, postgresql: Postgresql
) -> None:
    east = boxes.start("east", LATCHKEY_THREADS="2")
    west = boxes.start("west")
    keys = [issue(east) for _ in range(3)]
    west.upkeep.stop()
    waiting = Running(lambda: revoke(east, keys[0]))
    wait_until(lambda: east.store.audit.last().number == 4, "the commit")
    # Half of two threads wait. The next change is refused before its commit.
    with pytest.raises(ChangesBusy):
        revoke(east, keys[1])
    assert east.store.audit.last().number == 4
    assert not is_refused(east, keys[1])
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
    wait_until(lambda: postgresql.execute(held) == [(0,)], "the end of the turn")
    # A poll has a transaction for a moment.
    wait_until(lambda: postgresql.execute(busy) == [(0,)], "the end of all transactions")
    assert waiting.is_alive()
    west.upkeep.replay()
    waiting.value()
    # Its place is free.
    waiting = Running(lambda: revoke(east, keys[2]))
    wait_until(lambda: east.store.audit.last().number == 5, "the commit")
    west.upkeep.replay()
    waiting.value()


def test_a_change_that_is_found_made_waits_too(boxes: Boxes) -> None:
    """The process that made it was killed after its commit."""
    east, west = boxes.start("east"), boxes.start("west")
    presented = issue(east)
    await_cached(west, presented)
    west.upkeep.stop()
    waiting = Running(lambda: revoke(east, presented))
    wait_until(lambda: east.store.audit.last().number == 2, "the commit")
    again = Running(lambda: revoke(east, presented))
    assert again.is_alive()
    assert waiting.is_alive()
    west.upkeep.replay()
    waiting.value()
    assert type(again.outcome().error).__name__ == "CredentialNotFound"
    assert is_refused(west, presented)


def test_a_box_that_returns_after_it_was_forgotten_counts_no_use_twice(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    east, west = boxes.start("east"), boxes.start("west")
    presented = issue(west)
    number = west.authenticator.authenticate(presented).credential_id

    def use(times: int) -> int:
        for _ in range(times):
            east.shared.count_use(number)
        # Its threads have ended, and it writes what it has counted.
        east.upkeep.stop()
        return sum(west.store.usage.record(number, "").hours.values())

    assert use(3) == 3
    lost = [box.id for box in registered(west).live() if box.name == "east"]
    registered(west).mark_dead(lost, 1 << 40)
    assert registered(west).forget(utc_now() + timedelta(days=1)) == 1
    assert use(2) == 3
    assert "cut off for more than a day" in caplog.text
    assert use(4) == 7
    # Then it is a box again, and is forgotten no more.
    east.upkeep.replay()
    assert live(west) == {"east", "west"}
    assert registered(west).forget(utc_now() + timedelta(days=1)) == 0
    assert use(1) == 8


def test_a_rewound_log_is_recognised(
    boxes: Boxes, postgresql: Postgresql, postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another history has a row with the same number."""
    east = boxes.start("east")
    presented = issue(east)
    await_cached(east, presented)
    (before,) = registered(east).live()
    database = postgresql_url.rpartition("/")[2]
    postgresql.execute("UPDATE invalidation SET nonce = nonce + 1", database=database)
    wait_until(lambda: registered(east).live()[0].id != before.id, "a new registration")
    assert live(east) == {"east"}
    assert "lacks a row that it has applied" in caplog.text


def test_an_outage_of_the_database(tmp_path: Path) -> None:
    """Cached keys work for the rest of the lease; then it is an error, and never a refusal."""
    with started() as server:
        boxes = Boxes(tmp_path, server.url(server.new_migrated_database()))
        east, west = (boxes.start(name, LATCHKEY_LEASE="2") for name in ("east", "west"))
        presented = issue(east)
        await_cached(west, presented)
        server.stop()

        def outcome(parts: Parts) -> str:
            try:
                parts.authenticator.authenticate(presented)
            except StoreError:
                return "error"
            return "ok" if parts.shared.has_lease() else "without a lease"

        seen = set()
        while (now := outcome(west)) != "error":
            seen.add(now)
        assert seen <= {"ok", "without a lease"}
        assert not west.shared.has_lease()
        with pytest.raises(StoreError):
            west.store.check()
        server.start()
        for parts in (east, west):
            wait_until(parts.shared.has_lease, "the lease")
            await_cached(parts, presented)
        revoke(east, presented)
        assert is_refused(west, presented)
        boxes.stop()


def test_quotas_are_exact_and_rates_can_be_divided(boxes: Boxes) -> None:
    both = [boxes.start(name, LATCHKEY_RATE_SHARE="divide") for name in ("east", "west")]
    for parts in both:
        number = partial(parts.shared.words.value, Word.BOXES)
        wait_until(lambda: number() == 2, "the number of boxes")  # noqa: B023

    def admitted(limit: Limit) -> list[int]:
        issued = both[0].credentials.issue(
            name="test", caller=None, scopes=frozenset({"*"}), by=TESTER, limits=[limit]
        )
        counts = [0, 0]
        for number in range(40):
            with suppress(LimitReached):
                presented = read_plain(issued.secret)
                both[number % 2].authenticator.authenticate(presented, take=1)
                counts[number % 2] += 1
        return counts

    assert admitted(rate_limit("9/day")) == [4, 4]
    assert sum(admitted(quota_limit("all", 15, "total"))) == 15
