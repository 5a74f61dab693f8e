"""Plans of limits: the outcomes of taking from them, their text, and their headers."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcache.shared import Counters, QuotaTable, RateTable
from latchkey.box.limit_tables import LimitTables
from latchkey.box.shared import Word
from latchkey.check._limits import NEEDS_STORE, REFUSED, TAKEN, LimitOutcome, LimitPlan
from latchkey.credentials.limits import StoredLimit, quota_limit, rate_limit
from tests.support.auth.limit_clock import Clock, new_tables
from tests.support.auth.limited_box import ONE

SECOND = 10**9


def test_damaged_words_admit_nothing_by_an_exception() -> None:
    """Any content of the tables leads to an outcome."""
    chosen = random.Random(7)
    rates, quotas = bytearray(64 * 8), bytearray(64 * 32)
    tables = LimitTables(RateTable(64, memory=rates), RateTable(64), QuotaTable(64, memory=quotas))
    plan = LimitPlan(
        (StoredLimit(1, rate_limit("10/second")), StoredLimit(2, quota_limit("q", 10, "month"))),
        (StoredLimit(3, rate_limit("1/day", burst=366)),),
    )
    for _ in range(3_000):
        for memory in (rates, quotas):
            at = chosen.randrange(len(memory) - 8)
            memory[at : at + 8] = chosen.choice(
                [bytes(8), b"\xff" * 8, chosen.randbytes(8), bytes([chosen.randrange(256)]) * 8]
            )
        cost = chosen.choice([1, 5, 10**6, (1 << 64) - 1])
        outcome = plan.take(tables, cost)
        assert outcome.verdict in (TAKEN, REFUSED, NEEDS_STORE)
        assert outcome.verdict == REFUSED or cost < 11
        assert all(remaining <= 366 for _, remaining, _ in outcome.levels())
        assert outcome.headers()
        assert outcome.headers("x")


@pytest.mark.parametrize("boxes", [0, 1, 2, 5_000, 1 << 63, (1 << 64) - 1])
def test_any_number_of_boxes_leads_to_an_outcome(boxes: int) -> None:
    """The word is in shared memory: none of its contents may admit more than one box does."""
    clock = Clock()
    tables = new_tables(clock)
    words = Counters([f"{number}" for number in range(16)])
    words.add(Word.BOXES, boxes)
    tables.words = words
    plan = LimitPlan((StoredLimit(1, rate_limit("1/day", burst=366)),))
    admitted = sum(plan.take(tables).verdict == TAKEN for _ in range(400))
    assert admitted == {0: 366, 1: 366, 2: 183}.get(boxes, 1)
    assert plan.look(tables).levels()[0][1] == 0
    assert plan.take(tables, 1_000_000).wait_ns is None


@pytest.mark.parametrize("beside", [(), (StoredLimit(2, rate_limit("1/second", "other")),)])
def test_a_faster_rate_does_not_wait_for_the_slower_one_before(
    beside: tuple[StoredLimit, ...],
) -> None:
    clock = Clock()
    tables = new_tables(clock)
    assert LimitPlan((StoredLimit(1, rate_limit("3/hour")),)).take(tables, 3).verdict == TAKEN
    changed = LimitPlan((*beside, StoredLimit(1, rate_limit("10/second"))))
    assert changed.look(tables).levels()[-1] == ("default", 0, 1)
    outcome = changed.take(tables)
    assert (outcome.verdict, outcome.wait_ns) == (REFUSED, SECOND // 10)
    clock.now += SECOND // 10
    assert changed.take(tables).verdict == TAKEN


def test_units_are_given_back_to_earlier_limits() -> None:
    """The second limit refuses after it was checked: another process was faster."""
    second = StoredLimit(2, rate_limit("1/minute", "slow"))
    plan = LimitPlan((StoredLimit(1, rate_limit("10/second")), second))
    clock = Clock()
    calls = 0

    def overtaken() -> int:
        nonlocal calls
        calls += 1
        # The look has read the clock twice.
        if calls == 3:
            assert LimitPlan((second,)).take(other).verdict == TAKEN
        return clock()

    memory = bytearray(512)
    tables = LimitTables(RateTable(64, memory=memory, timer=overtaken), RateTable(1), QuotaTable(1))
    other = LimitTables(RateTable(64, memory=memory, timer=clock), RateTable(1), QuotaTable(1))
    outcome = plan.take(tables)
    assert (outcome.verdict, outcome.index) == (REFUSED, 1)
    assert plan.look(other).levels() == [("default", 10, 0), ("slow", 0, 60)]


def test_a_refusal_comes_before_a_quota_that_needs_the_store() -> None:
    tables = new_tables(Clock())
    plan = LimitPlan(
        (StoredLimit(1, quota_limit("q", 10, "total")),),
        (StoredLimit(2, rate_limit("1/minute")),),
    )
    assert (plan.take(tables).verdict, plan.take(tables).index) == (NEEDS_STORE, 0)
    LimitPlan((StoredLimit(2, rate_limit("1/minute")),)).take(tables)
    outcome = plan.take(tables)
    assert (outcome.verdict, outcome.index, outcome.wait_ns) == (REFUSED, 1, 60 * SECOND)


def test_a_quota_that_is_used_up_waits_for_its_period() -> None:
    tables = new_tables(Clock())
    plan = LimitPlan((StoredLimit(1, quota_limit("q", 3, "day")),))
    now = int(datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp() * 1_000)
    day = now // 86_400_000
    assert plan.take(tables, now=now).verdict == NEEDS_STORE
    tables.quotas.publish(1, 1, 0, 3, day + 1)
    assert plan.take(tables, 3, now=now).levels(now=now) == [("q", 0, 43_200)]
    refused = plan.take(tables, now=now)
    assert (refused.verdict, refused.wait_ns) == (REFUSED, 43_200 * SECOND)
    assert plan.take(tables, 4, now=now).wait_ns is None
    later = now + 43_200_000
    renewed = plan.take(tables, now=later)
    assert renewed.verdict == NEEDS_STORE
    assert renewed.levels(now=later) == [("q", 3, 86_400)]


names = st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True)
any_limits = st.lists(
    st.builds(
        lambda name, count, period, burst: rate_limit(f"{count}/{period}", name, burst),
        names,
        st.integers(1, 1_000_000),
        st.sampled_from(["second", "minute"]),
        st.integers(1, 366 * 24 * 60),
    )
    | st.builds(
        lambda name, quota, refill_on: quota_limit(name, quota, "month", refill_on),
        names,
        st.integers(1, 10**12),
        st.integers(1, 28),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(any_limits, any_limits, st.integers(0, 63))
def test_the_text_of_a_plan_is_read_again(own: list[Any], account: list[Any], row: int) -> None:
    plan = LimitPlan(
        tuple(StoredLimit(row, limit, 5 if hasattr(limit, "quota") else 0) for limit in own),
        tuple(StoredLimit(row, limit, 6 if hasattr(limit, "quota") else 0) for limit in account),
    )
    again = LimitPlan.of_text(plan.text)
    assert again == plan
    assert hash(again) == hash(plan)
    assert (again.limits, again.names, again.sources) == (plan.limits, plan.names, plan.sources)
    assert len(set(plan.names)) == len(plan.names) or len({one.name for one in own}) < len(own)
    assert plan.text.isascii()
    assert plan.text.isprintable()
    outcome = plan.look(new_tables(Clock()))
    assert [name for name, _, _ in outcome.levels()] == list(plan.names)
    assert all(len(value) < 1_024 for _, value in outcome.headers())


def test_the_default_limit_has_rows_of_its_own() -> None:
    clock = Clock()
    tables = new_tables(clock)
    default = LimitPlan((), (), (rate_limit("1/minute"), 5))
    own = LimitPlan((StoredLimit(5, rate_limit("1/minute")),))
    assert default.sources == ("default",)
    assert [default.take(tables).verdict for _ in range(2)] == [TAKEN, REFUSED]
    assert own.take(tables).verdict == TAKEN
    assert LimitPlan.of_text(default.text) == default != own


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        ";;;",
        "x;;",
        "r,1,a,5/minute;;",
        "r,1,a,5/minute,0;;",
        "r,-1,a,5/minute,5;;",
        "r,1,A,5/minute,5;;",
        "r,1,a,5/week,5;;",
        "q,1,a,1,0,day,1;;",
        "q,1,a,1,5,week,1;;",
        ";;q,1,a,1,5,day,1",
        ";;r,1,a,5/minute,5 r,2,b,5/minute,5",
        "r,1,a,5/minute,5;;r,1,a,5/minute,5",
        " ".join(["r,1,a,5/minute,5"] * 5) + ";;",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each part has its own message
        LimitPlan.of_text(text)


def test_outcomes_are_made_by_plans() -> None:
    with pytest.raises(TypeError):
        LimitOutcome()
    with pytest.raises(ValueError, match="cost"):
        ONE.take(new_tables(Clock()), 0)
    with pytest.raises(ValueError, match="at most 4"):
        LimitPlan(tuple(StoredLimit(row, rate_limit("1/day")) for row in range(5)))
    with pytest.raises(ValueError, match="own"):
        LimitPlan((StoredLimit(1, rate_limit("1/day")),), (), (rate_limit("1/day"), 1))
    assert repr(ONE.take(new_tables(Clock()))) == "LimitOutcome(TAKEN, index=-1)"
