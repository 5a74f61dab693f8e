"""What workers share: a segment's state, and the coherence of the cache between them.

The workers here are two authenticators over one real segment, each with its own attachment, its
own cache and its own connections: what two processes have, without the processes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.auth import AuthMiddleware
from app.auth.blocks import Totals
from app.auth.counts import Count, Gauge, Use
from app.auth.shared import SMALLEST, SharedState, Word
from app.credentials.derivation import DerivationKey
from app.errors import StoreError
from fastcache import Segment
from tests.audited import TESTER
from tests.auth.worker import (
    Gate,
    Running,
    Worker,
    api_key,
    await_waiting,
    derive,
    forge,
    presented,
)

Check = Callable[[Worker, str], str]


class Box:
    """A segment, and workers over one database that share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.segment = Segment.create(
            directory / "segment", SharedState.regions(SMALLEST), prepare=SharedState.prepare
        )
        self._workers: list[Worker] = []
        self._segments: list[Segment] = []

    def attach(self) -> SharedState:
        """The state as another process has it."""
        self._segments.append(Segment.attach(self.segment.path))
        return SharedState.over(self._segments[-1])

    def worker(self, **options: object) -> Worker:
        """Another worker; in real time, so that deadlines mean the same to all."""
        path = self.directory / "latchkey.db"
        self._workers.append(
            Worker(
                path,
                fresh=not path.exists(),
                shared=self.attach(),
                real_time=True,
                **options,  # type: ignore[arg-type]
            )
        )
        return self._workers[-1]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self.segment.remove()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


def through(worker: Worker, secret: str) -> str:
    """The same check by the compiled middleware: "ok", or the status."""
    came_to: list[str] = []

    def application(environ: object, start_response: object) -> list[bytes]:
        came_to.append("ok")
        return []

    middleware = AuthMiddleware(application, worker.authenticator)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": f"Bearer {secret}"}
    middleware(environ, lambda status, headers, exc_info=None: came_to.append(status))  # type: ignore[arg-type]
    return came_to[0]


def in_python(worker: Worker, secret: str) -> str:
    """As ``through``, without compiled code."""
    return "ok" if (came_to := worker.outcome(secret)) == "ok" else f"401 {came_to}"


@pytest.fixture(params=[through, in_python], ids=["compiled", "plain"])
def check(request: pytest.FixtureRequest) -> Check:
    """A check by either way."""
    way: Check = request.param
    return way


# ---- The cache between workers


def test_a_new_worker_warms_itself_without_the_database(box: Box, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    assert first.outcome(secret) == "ok"
    for _ in range(3):
        assert check(second, secret) == "ok"
    assert (first.reads.count, second.reads.count) == (1, 0)
    counted = second.authenticator.counters
    assert counted.value(Count.SHARED_HIT) == 1
    assert counted.value(Count.CACHE_HIT) == 2
    assert second.authenticate(secret) == first.authenticate(secret)


def test_a_wrong_secret_finds_nothing_there(box: Box, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.outcome(secret)
    assert check(second, forge(secret))[:3] == "401"
    assert second.reads.count == 0
    assert len(second.authenticator.known) == 0


def test_an_entry_from_there_keeps_its_ticket_and_its_deadline(box: Box, check: Check) -> None:
    first, second = box.worker(cache_ttl=200.0), box.worker(cache_ttl=200.0)
    secret = first.issue()
    first.outcome(secret)
    check(second, secret)
    theirs, ours = (
        one.authenticator.known.get(presented(secret).lookup) for one in (first, second)
    )
    assert theirs is not None
    assert ours is not None
    assert (theirs.ticket, theirs.deadline) == (ours.ticket, ours.deadline)
    assert theirs.record() == ours.record()


def test_an_entry_from_there_ends_when_the_first_read_says(box: Box, check: Check) -> None:
    first, second = box.worker(cache_ttl=0.4), box.worker(cache_ttl=0.4)
    secret = first.issue()
    read_at = time.monotonic()
    first.outcome(secret)
    time.sleep(0.2)
    check(second, secret)
    while time.monotonic() < read_at + 0.45:
        time.sleep(0.01)
    # Were it counted from when the second worker had it, it would last until 0.6.
    check(second, secret)
    assert second.reads.count == 1


@pytest.mark.parametrize("change", ["revoke", "invalidate", "all"])
def test_a_change_ends_it_everywhere(box: Box, check: Check, change: str) -> None:
    first, second, third = box.worker(), box.worker(), box.worker()
    secret = first.issue()
    assert [check(one, secret) for one in (first, second)] == ["ok", "ok"]
    if change == "revoke":
        first.revoke(secret)
    elif change == "invalidate":
        box.attach().invalidate(presented(secret).lookup)
    else:
        box.attach().invalidate_all()
    for one in (second, third, first):
        assert (check(one, secret) == "ok") == (change != "revoke")
    # One of them read it again, for all.
    assert first.reads.count + second.reads.count + third.reads.count == 2


def test_revoked_and_expired_are_known_there_too(box: Box, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.revoke(secret)
    assert first.outcome(secret) == "RevokedCredential"
    for _ in range(2):
        assert check(second, secret)[:3] == "401"
    assert second.reads.count == 0
    row = second.service.get(api_key(secret), None).id
    assert box.attach().uses.row(row)[Use.REVOKED] == 3


def test_an_unregistered_key_is_not_kept_there(box: Box, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = derive(first.keys.newest)
    assert [check(one, secret)[:3] for one in (first, second)] == ["401", "401"]
    second.register(secret)
    assert [check(one, secret) for one in (first, second)] == ["ok", "ok"]


def test_what_an_older_list_of_derivation_keys_let_in_does_not_count(
    box: Box, check: Check
) -> None:
    old, new = DerivationKey(b"o" * 32), DerivationKey(b"n" * 32)
    before = box.worker(current=[old])
    secret = before.issue()
    assert before.outcome(secret) == "ok"
    after = box.worker(current=[new])
    assert check(after, secret)[:3] == "401"
    both = box.worker(current=[new], retired=[old])
    assert check(both, secret) == "ok"
    assert (after.reads.count, both.reads.count) == (0, 1)


@pytest.mark.parametrize("backend", ["cachetools", "none"])
def test_other_backends_obey_the_same_stripes(box: Box, backend: str) -> None:
    first, second = box.worker(backend=backend), box.worker()
    secret = first.issue()
    assert first.authenticator.l2 is None
    assert first.outcome(secret) == second.outcome(secret) == through(first, secret) == "ok"
    second.revoke(secret)
    assert first.outcome(secret) == "RevokedCredential"
    first_reads = first.reads.count
    assert first_reads == (2 if backend == "cachetools" else 3)


# ---- The races, at their worst points


def _stopped(worker: Worker, secret: str, where: str) -> tuple[Running, Gate]:
    """A cold check in a thread, stopped just before or just after its SELECT."""
    gate = Gate()
    thread = Running(lambda: worker.outcome(secret), start=False)
    setattr(worker.reads, where, gate.only(thread))
    thread.start()
    gate.await_arrival()
    return thread, gate


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_fill_that_a_revocation_overtook_is_nobodys_hit(
    box: Box, check: Check, where: str
) -> None:
    """The worker stopped between its ticket and its SELECT, or between its SELECT and its fill."""
    first, second, third = box.worker(), box.worker(), box.worker()
    secret = first.issue()
    thread, gate = _stopped(first, secret, where)
    second.revoke(secret)
    assert check(third, secret)[:3] == "401"
    gate.open()
    assert thread.value() == ("RevokedCredential" if where == "before" else "ok")
    for _ in range(2):
        for worker in (first, second, third, box.worker()):
            assert check(worker, secret)[:3] == "401"


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_registration_that_overtakes_a_search(box: Box, check: Check, where: str) -> None:
    first, second = box.worker(), box.worker()
    secret = derive(first.keys.newest)
    thread, gate = _stopped(first, secret, where)
    second.register(secret)
    gate.open()
    assert thread.value() == ("ok" if where == "before" else "InvalidCredential")
    assert check(first, secret) == check(second, secret) == "ok"


def test_a_flight_that_another_worker_s_revocation_overtakes(box: Box) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    leader, gate = _stopped(first, secret, "after")
    waiters = [Running(lambda: first.outcome(secret)) for _ in range(4)]
    await_waiting(waiters, "fly")
    second.revoke(secret)
    newcomers = [Running(lambda: first.outcome(secret)) for _ in range(4)]
    assert [one.value() for one in newcomers] == ["RevokedCredential"] * 4
    gate.open()
    assert [one.value() for one in (leader, *waiters)] == ["ok"] * 5
    assert first.outcome(secret) == second.outcome(secret) == "RevokedCredential"


def test_an_older_fill_does_not_outlive_a_newer_one(box: Box, check: Check) -> None:
    """The slot then holds what was read first, under its own ticket: a miss, and no more."""
    first, second = box.worker(), box.worker()
    secret = first.issue()
    thread, gate = _stopped(first, secret, "after")
    second.revoke(secret)
    assert second.outcome(secret) == "RevokedCredential"
    gate.open()
    assert thread.value() == "ok"
    fresh = box.worker()
    assert check(fresh, secret)[:3] == "401"
    assert fresh.reads.count == 1


def test_a_failing_database_is_remembered_nowhere(box: Box, check: Check) -> None:
    first, second = box.worker(), box.worker()
    warm, cold = first.issue(), first.issue()
    assert first.outcome(warm) == "ok"
    away = first.path.with_name("away.db")
    first.path.rename(away)
    assert check(second, warm) == "ok"
    with pytest.raises(StoreError):
        second.authenticate(cold)
    away.rename(first.path)
    assert check(second, cold) == check(first, cold) == "ok"


# ---- Records that cannot be used


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: b"",
        lambda record: record[:30],
        lambda record: record[:-1],
        lambda record: record + b"x",
        lambda record: b"\xff" + record[1:],
        lambda record: record[:-1] + b"\xff",
        lambda record: record[:16] + b"\xfe" * 7 + b"\x7f" + record[24:],
    ],
    ids=["empty", "cut", "shorter", "longer", "other version", "not UTF-8", "year 10^8"],
)
def test_a_record_that_is_none_is_a_miss(
    box: Box, check: Check, spoil: Callable[[bytes], bytes]
) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    first.outcome(secret)
    lookup = presented(secret).lookup
    cache = first.authenticator.l2
    assert cache is not None
    found = cache.get(lookup)
    assert found is not None
    cache.put(lookup, spoil(found.value), ticket=found.ticket, deadline=found.deadline)
    assert check(second, secret) == "ok"
    assert second.reads.count == 1


def test_a_name_too_long_for_a_slot_is_kept_by_each_worker(box: Box, check: Check) -> None:
    first, second = box.worker(), box.worker()
    secret = first.service.issue(name="ü" * 100, caller=None, by=TESTER).secret
    assert [check(one, secret) for one in (first, first, second, second)] == ["ok"] * 4
    assert (first.reads.count, second.reads.count) == (1, 1)
    stats = box.attach().l2
    assert stats is not None
    assert stats.stats().oversized == 2


# ---- Counting


def test_uses_are_counted_together_and_outlive_a_worker(box: Box) -> None:
    first, second = box.worker(), box.worker()
    secret = first.issue()
    row = first.service.get(api_key(secret), None).id
    for worker in (first, second, first):
        assert through(worker, secret) == "ok"
    first.authenticator.shared.count_use(row)
    uses = box.attach().uses
    assert uses.value(row, Use.USES) == 4
    assert time.time() - uses.value(row, Use.LAST_USED) / 1000 < 60


def test_rows_are_made_as_they_are_needed(box: Box) -> None:
    state, other = box.attach(), box.attach()
    beyond = state.uses.backed_rows
    assert state.make_room(beyond - 1)
    assert state.uses.backed_rows == beyond
    state.count_use(beyond + 5)
    assert other.uses.backed_rows > beyond + 5
    assert other.uses.value(beyond + 5, Use.USES) == 1
    # There is an end, which costs counts and nothing else.
    assert not state.make_room(state.uses.rows)
    state.count_use(state.uses.rows)
    assert state.claim_block().counters.value(Count.UNCOUNTED) == 1


def test_what_is_private_needs_no_segment() -> None:
    state = SharedState.private()
    assert state.l2 is None
    assert state.segment is None
    state.count_use(3)
    state.count_refusal(3, Use.SCOPE)
    assert state.uses.row(3)[Use.USES] == state.uses.row(3)[Use.SCOPE] == 1
    state.count_use(1 << 40)
    assert state.blocks.totals().counts[Count.UNCOUNTED] == 1
    assert [state.words.value(word) for word in Word] == [0] * len(Word)


def test_a_segment_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="at least"):
        SharedState.regions(SMALLEST - 1)
    for size in (SMALLEST, 32 << 20):
        regions = SharedState.regions(size)
        backed = sum(region.size for region in regions.values())
        assert size - (1 << 16) < backed <= size
        assert regions["l2"].size > size // 4


# ---- Blocks


def _work_in_a_block_and_end(box: Box, other: SharedState) -> Totals:
    """What the blocks come to while a worker has requests in flight; then it ends."""
    with Segment.attach(box.segment.path) as segment:
        state = SharedState.over(segment)
        block = state.claim_block()
        assert state.claim_block() is block
        block.counters.add(Count.AUTHENTICATED, 5)
        block.counters.add(Count.STARTED, 3)
        block.counters.add(Count.FINISHED, 1)
        block.show_held(10, 20)
        block.show_evicted(4, 6)
        block.latencies.observe("account", 200, 70_000)
        return other.blocks.totals()


def test_a_successor_goes_on_with_a_block(box: Box) -> None:
    other = box.attach()
    theirs = other.claim_block()
    theirs.counters.add(Count.AUTHENTICATED, 7)
    theirs.latencies.observe("account", 200, 10**12)
    before = _work_in_a_block_and_end(box, other)
    assert before.counts[Count.AUTHENTICATED] == 12
    assert before.in_flight == 2
    assert before.gauges == {Gauge.KNOWN: 10, Gauge.UNKNOWN: 20}
    series = before.series["account", 200]
    assert (series[1], series[-2], series[-1]) == (1, 1, 10**12 + 70_000)
    # What it counted stays; what it was doing, and what it held, does not.
    gc.collect()
    ended = other.blocks.totals()
    assert (ended.counts, ended.series) == (before.counts, before.series)
    assert (ended.in_flight, ended.gauges[Gauge.KNOWN]) == (0, 0)
    successor = box.attach()
    block = successor.claim_block()
    assert block.counters.value(Count.AUTHENTICATED) == 5
    assert block.in_flight == 0
    block.show_evicted(1, 0)
    block.latencies.observe("account", 200, 1)
    block.latencies.observe("account", 404, 1)
    after = other.blocks.totals()
    assert after.counts[Count.EVICTED_KNOWN] == 5
    assert after.counts[Count.EVICTED_UNKNOWN] == 6
    assert after.in_flight == 0
    assert sum(after.series["account", 200][:-1]) == 3
    assert sum(after.series["account", 404][:-1]) == 1


def test_workers_beyond_the_blocks_share_one(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [box.attach() for _ in range(3)]
    for state in states:
        monkeypatch.setattr(state.blocks, "_claim", lambda state=state: state.blocks._block(0))
        state.claim_block().counters.add(Count.OPEN, 2)
        state.claim_block().counters.add(Count.STARTED)
    totals = box.attach().blocks.totals()
    assert totals.counts[Count.OPEN] == 6
    # Nobody can tell whether who began them lives.
    assert totals.in_flight == 0
