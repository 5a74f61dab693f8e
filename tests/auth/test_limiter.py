"""Taking from quotas with a real database: reservations, faults, changes, and giving back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from latchkey.box.counter_names import Count
from latchkey.box.shared import SharedState, Word
from latchkey.check._limits import LimitPlan
from latchkey.check.limit_levels import LimitLevels, plan_of
from latchkey.check.limiting import Limiter
from latchkey.credentials.limits import Limit, QuotaLimit, StoredLimit, rate_limit
from latchkey.credentials.models import Change, Credential
from latchkey.credentials.times import utc_now
from latchkey.errors import QuotaExceeded, RateLimited, StoreError
from latchkey.store.protocols import LimitStore
from tests.support.audited import TESTER
from tests.support.auth.worker import PATIENCE, Worker
from tests.support.faults.service_processes import wait_until

TOTAL = QuotaLimit("all", 10, "total")


class Box:
    """A worker over a database of its own, and a limiter that reserves under one segment."""

    def __init__(self, path: Path, shared: SharedState | None = None) -> None:
        self.worker = Worker(path, shared=shared)
        self.shared = self.worker.authenticator.shared
        self.limiter = self.limiter_of("a" * 32, self.shared)

    def limiter_of(self, segment: str, shared: SharedState) -> Limiter:
        return Limiter(
            shared.limits,
            self.worker.store.limits,
            segment,
            self.worker.authenticator.counters,
            shared.count_refusal,
        )

    def issue(self, *limits: Limit) -> Credential:
        service = self.worker.service
        return service.issue(name="x", caller=None, by=TESTER, limits=limits).credential

    def plan(self, key: Credential) -> LimitPlan:
        """The plan of a key as the database has it now."""
        present = self.worker.service.get(key.api_key, None)
        plan = plan_of(present.applied_limits, None, present.id)
        assert plan is not None
        return plan


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "latchkey.db")
    yield made
    made.worker.close()


def test_a_quota_is_spent_to_the_last_unit(box: Box) -> None:
    key = box.issue(TOTAL)
    plan = box.plan(key)
    for _ in range(10):
        box.limiter.take(plan, key.id)
    for _ in range(3):
        with pytest.raises(QuotaExceeded) as raised:
            box.limiter.take(plan, key.id)
    assert raised.value.retry_after is None
    counters = box.worker.authenticator.counters
    assert counters.value(Count.QUOTAS_ADMITTED) == 10
    assert counters.value(Count.QUOTAS_REFUSED) == 3
    (use,) = box.worker.store.limits.states([key.limits[0].id], utc_now()).values()
    assert use.used == 10


def test_two_segments_share_a_quota(box: Box) -> None:
    key = box.issue(TOTAL)
    plan = box.plan(key)
    other = box.limiter_of("b" * 32, SharedState.private())
    for limiter in (box.limiter, other) * 5:
        limiter.take(plan, key.id)
    for limiter in (box.limiter, other) * 2:
        with pytest.raises(QuotaExceeded):
            limiter.take(plan, key.id)


def test_a_cost_above_the_quota_is_never_admitted(box: Box) -> None:
    key = box.issue(TOTAL, rate_limit("5/day"))
    plan = box.plan(key)
    with pytest.raises(RateLimited, match="costs more than the rate limit default") as limited:
        box.limiter.take(LimitPlan(plan.limits[1:]), key.id, 6)
    with pytest.raises(QuotaExceeded, match="costs more than the whole quota all") as exceeded:
        box.limiter.take(plan, key.id, 11)
    assert (limited.value.retry_after, exceeded.value.retry_after) == (None, None)
    assert box.limiter.take(plan, key.id, 5).levels()[1][1] == 0


def test_without_the_database_nothing_beyond_the_reservation_is_admitted(box: Box) -> None:
    key = box.issue(QuotaLimit("all", 1_000, "total"))
    plan = box.plan(key)
    # 10 units are reserved.
    box.limiter.take(plan, key.id)
    moved = box.worker.path.rename(box.worker.path.with_suffix(".moved"))
    for _ in range(9):
        box.limiter.take(plan, key.id)
    for _ in range(2):
        with pytest.raises(StoreError):
            box.limiter.take(plan, key.id)
    moved.rename(box.worker.path)
    box.limiter.take(plan, key.id)


def test_a_plan_from_before_a_change_is_brought_up_to_date(box: Box) -> None:
    key = box.issue(QuotaLimit("monthly", 10, "month"))
    former = box.plan(key)
    box.limiter.take(former, key.id, 4)
    change = Change(limits=(QuotaLimit("monthly", 6, "month"),))
    box.worker.service.change(key.api_key, change, None, by=TESTER)
    # Everything that was spent stays spent, and the units that were not are given back.
    taken = box.limiter.take(former, key.id)
    assert taken.plan.limits == box.plan(key).limits
    box.limiter.take(box.plan(key), key.id)
    for plan in (former, box.plan(key)):
        with pytest.raises(QuotaExceeded):
            box.limiter.take(plan, key.id)


def test_a_reservation_that_was_not_published_is_used_by_the_next(box: Box) -> None:
    """A worker was killed between the commit and the publication."""
    key = box.issue(QuotaLimit("all", 1_000, "total"))
    plan = box.plan(key)
    box.worker.store.limits.reserve(key.limits[0].id, "a" * 32, 1, utc_now())
    box.limiter.take(plan, key.id)
    (use,) = box.worker.store.limits.states([key.limits[0].id], utc_now()).values()
    assert use.used == 10


def test_what_remains_includes_what_this_box_has_reserved(box: Box) -> None:
    key = box.issue(QuotaLimit("all", 1_000, "total"), rate_limit("5/day"))
    levels = LimitLevels(box.shared.limits, box.worker.store.limits, None)
    assert [one.remaining for one in levels.levels_of(key, "live")] == [1_000, 5]
    box.limiter.take(box.plan(key), key.id)
    quota, rate = levels.levels_of(key, "live")
    assert (quota.name, quota.source, quota.remaining, quota.reset_at) == ("all", "key", 999, None)
    assert (rate.name, rate.remaining) == ("default", 4)
    assert rate.reset_at is not None


def test_the_default_limit_is_for_keys_without_own_ones(box: Box) -> None:
    default = rate_limit("7/day")
    levels = LimitLevels(box.shared.limits, box.worker.store.limits, default)
    (of_default,) = levels.levels_of(box.issue(), "live")
    assert (of_default.source, of_default.limit) == ("default", default)
    (own,) = levels.levels_of(box.issue(TOTAL), "live")
    assert own.source == "key"


def test_rates_are_divided_among_boxes(box: Box) -> None:
    plan = LimitPlan((StoredLimit(1, rate_limit("10/day")),))
    words = box.shared.words
    words.add(Word.BOXES, 3)
    for _ in range(3):
        taken = box.limiter.take(plan, 1)
    assert taken.levels()[0][1] == 0
    with pytest.raises(RateLimited) as raised:
        box.limiter.take(plan, 1)
    # One unit takes three times as long.
    hours = 3 * 24 / 10
    assert hours * 3_600 - 60 <= (raised.value.retry_after or 0) <= hours * 3_600
    # A box has at least 1.
    words.add(Word.BOXES, 97)
    small = LimitPlan((StoredLimit(2, rate_limit("10/day")),))
    box.limiter.take(small, 1)
    with pytest.raises(RateLimited):
        box.limiter.take(small, 1)


class Gated:
    """The quotas of a database; each reservation waits until the test lets it go on."""

    def __init__(self, quotas: LimitStore) -> None:
        self._quotas = quotas
        self.begun = 0
        self.open = threading.Event()

    def reserve(self, *arguments: Any) -> Any:
        self.begun += 1
        assert self.open.wait(PATIENCE)
        return self._quotas.reserve(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quotas, name)


def test_threads_that_wait_for_a_failing_reservation_do_not_repeat_it(box: Box) -> None:
    key = box.issue(TOTAL)
    plan = box.plan(key)
    gated = Gated(box.worker.store.limits)
    readings: list[None] = []

    def timer() -> int:
        """Read when a thread begins to wait for its turn, and when a reservation fails."""
        readings.append(None)
        return len(readings)

    limiter = Limiter(
        box.shared.limits,
        cast(LimitStore, gated),
        "a" * 32,
        box.worker.authenticator.counters,
        box.shared.count_refusal,
        timer=timer,
    )
    moved = box.worker.path.rename(box.worker.path.with_suffix(".moved"))
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(limiter.take, plan, key.id) for _ in range(4)]
        try:
            wait_until(lambda: len(readings) == 4, "four threads that wait")
        finally:
            gated.open.set()
        for one in taken:
            assert isinstance(one.exception(PATIENCE), StoreError)
    assert gated.begun == 1
    moved.rename(box.worker.path)
    limiter.take(plan, key.id)
    assert gated.begun == 2


def test_while_the_database_is_stalled_one_thread_tries_to_reserve(box: Box) -> None:
    key, other = box.issue(TOTAL), box.issue(TOTAL)
    gated = Gated(box.worker.store.limits)
    now = 0.0
    limiter = Limiter(
        box.shared.limits,
        cast(LimitStore, gated),
        "a" * 32,
        box.worker.authenticator.counters,
        box.shared.count_refusal,
        timer=lambda: now,
    )
    plan, plan_of_other = box.plan(key), box.plan(other)
    moved = box.worker.path.rename(box.worker.path.with_suffix(".moved"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(limiter.take, plan, key.id)
        wait_until(lambda: gated.begun == 1, "a reservation in the database")
        now = 10.0
        gated.open.set()
        assert isinstance(first.exception(PATIENCE), StoreError)
        with pytest.raises(StoreError):
            limiter.take(plan_of_other, other.id)
        assert gated.begun == 1
        now = 11.0
        gated.open.clear()
        trial = pool.submit(limiter.take, plan, key.id)
        wait_until(lambda: gated.begun == 2, "a trial")
        with pytest.raises(StoreError):
            limiter.take(plan_of_other, other.id)
        assert gated.begun == 2
        moved.rename(box.worker.path)
        gated.open.set()
        assert trial.exception(PATIENCE) is None
    limiter.take(plan_of_other, other.id)
    assert gated.begun == 3
