"""The compiled check of keys with limits: an admitted request takes from them as the plan does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Use
from latchkey.check._check import Verdict
from latchkey.check._entry import CacheEntry
from latchkey.check._gate import Gate
from latchkey.check._limits import TAKEN, LimitPlan
from latchkey.check.open_routes import NOTHING_OPEN
from latchkey.check.request_conditions import RequestConditions
from latchkey.credentials.conditions import NO_CONDITIONS, Conditions, parse_networks
from latchkey.credentials.limits import RateLimit, StoredLimit, quota_limit, rate_limit
from latchkey.credentials.models import Principal
from latchkey.credentials.tokens import lookup_key
from tests.support.auth.limit_clock import new_tables
from tests.support.auth.limited_box import LIMITS, ONE
from tests.support.auth.limited_box import LimitedBox as Box

SECOND = 10**9
FOREVER = 65_535
NOON = 1_777_896_000_000

pytestmark = pytest.mark.usefixtures("filled_buckets")


@pytest.fixture(scope="module")
def box(limited_box: Box) -> Box:
    """A worker with one key, whose limits run by a clock of the test."""
    return limited_box


# ---------------------------------------------------------------- the same as the plan

some_rates = st.builds(
    lambda count, period, burst: rate_limit(f"{count}/{period}", "a", burst),
    st.integers(1, 20),
    st.sampled_from(["second", "minute"]),
    st.integers(1, 6),
)
some_quotas = st.builds(
    lambda quota, period: quota_limit("b", quota, period),
    st.integers(1, 12),
    st.sampled_from(["day", "month", "total"]),
)
steps = st.one_of(
    st.just(("ask", 0)),
    st.tuples(st.just("wait"), st.integers(0, 5 * SECOND)),
    st.tuples(st.just("grant"), st.integers(0, 12)),
)


def plan_of(limits: list[Any], split: int, default: RateLimit | None) -> LimitPlan:
    """A plan of these limits, of which the first `split` are the key's; rows are 1, 2, ..."""
    stored = [StoredLimit(row, limit, 3) for row, limit in enumerate(limits, 1)]
    if default is None:
        return LimitPlan(tuple(stored[:split]), tuple(stored[split:]))
    return LimitPlan((), tuple(stored), (default, 9))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(some_rates | some_quotas, min_size=1, max_size=4),
    st.integers(0, 4),
    st.none() | some_rates,
    st.lists(steps, max_size=30),
)
def test_the_check_takes_as_the_plan_does(
    box: Box,
    limits: list[Any],
    split: int,
    default: RateLimit | None,
    taken: list[tuple[str, int]],
) -> None:
    plan = plan_of(limits, split, default)
    box.fill_buckets()
    box.worker.authenticator.shared.limits = tables = new_tables(box.clock)
    twin = new_tables(box.clock)
    box.limit(plan)
    check = box.check()
    granted = 0
    for kind, number in taken:
        if kind == "wait":
            box.clock.now += number
        elif kind == "grant":
            granted = max(granted, number)
            for each in (tables, twin):
                for row in range(1, 5):
                    each.quotas.publish(row, 1, 3, granted, FOREVER, 2)
        else:
            before = box.uses()
            environ = box.request()
            wanted = plan.take(twin)
            found = check(environ)
            assert (found is not Verdict.UNDECIDED) == (wanted.verdict == TAKEN)
            if isinstance(found, Principal):
                outcome = environ[LIMITS]
                assert (outcome.verdict, outcome.index, outcome.cost) == (TAKEN, -1, 1)
                assert outcome.plan == plan
            else:
                assert LIMITS not in environ
            assert box.uses() == before + (wanted.verdict == TAKEN)
            assert plan.look(tables).levels(now=NOON) == plan.look(twin).levels(now=NOON)
    box.worker.authenticator.shared.limits = box.tables


class Side:
    """An application whose requests are decided by compiled code first, or by Python alone."""

    def __init__(self, path: Path, *, compiled: bool) -> None:
        self.box = Box(path)
        authenticator = self.box.worker.authenticator
        check, policy = wsgi.policy_of(authenticator)
        if not compiled:
            conditions = RequestConditions(ClientAddresses(), authenticator.shared.count_refusal)
            check = self.box.check(known=None)
            policy = wsgi.Policy(
                authenticator, check, conditions, NOTHING_OPEN, None, None, None, None
            )
        self.gate = Gate(_answers, check, policy)

    def limit(self, plan: LimitPlan, conditions: Conditions) -> None:
        # Buckets are full, and nothing is granted: the rows are used again.
        self.box.fill_buckets()
        for row in range(1, 5):
            epoch = self.box.tables.quotas.state(row).epoch_tag + 1
            self.box.tables.quotas.publish(row, epoch, 3, 0, FOREVER)
        self.box.limit(plan, conditions=conditions)

    def grant(self, units: int) -> None:
        for row in range(1, 5):
            epoch = self.box.tables.quotas.state(row).epoch_tag
            self.box.tables.quotas.publish(row, epoch, 3, units, FOREVER, 2)

    def ask(self, address: str) -> tuple[str, dict[str, str], int, int]:
        """The status and the headers; the uses and the refusals that were counted so far."""
        started: list[Any] = []
        start: Any = lambda *given: started.append(given)  # noqa: E731
        b"".join(self.gate({**self.box.request(), "REMOTE_ADDR": address}, start))
        ((status, headers),) = started
        row = self.box.worker.authenticator.shared.uses.row(self.box.found.credential_id)
        return status, dict(headers), row[Use.USES], row[Use.RATE_LIMITED]


def _answers(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    sides = [
        Side(tmp_path_factory.mktemp("side") / "latchkey.db", compiled=compiled)
        for compiled in (True, False)
    ]
    yield sides
    for side in sides:
        side.box.worker.close()


totals = st.builds(lambda quota: quota_limit("b", quota, "total"), st.integers(1, 12))
asked = st.tuples(st.just("ask"), st.sampled_from(["10.0.0.1", "10.0.0.1", "192.0.2.1"]))
waits = st.tuples(st.just("wait"), st.integers(0, 5 * SECOND))
grants = st.tuples(st.just("grant"), st.integers(0, 12))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(some_rates | totals, min_size=1, max_size=4),
    st.integers(0, 4),
    st.sampled_from([NO_CONDITIONS, Conditions(networks=parse_networks(["10.0.0.0/8"]))]),
    st.lists(asked | waits | grants, max_size=20),
)
def test_compiled_code_and_python_give_the_same_answers(
    sides: list[Side],
    limits: list[Any],
    split: int,
    conditions: Conditions,
    taken: list[tuple[str, Any]],
) -> None:
    plan = plan_of(limits, split, None)
    for side in sides:
        side.limit(plan, conditions)
    for kind, given_ in taken:
        if kind == "ask":
            compiled, python = [side.ask(given_) for side in sides]
            assert compiled == python
            assert compiled[0][:3] in ("200", "403", "429", "500")
            assert ("RateLimit" in compiled[1]) == (compiled[0][:3] in ("200", "429"))
            continue
        for side in sides:
            if kind == "wait":
                side.box.clock.now += given_
            else:
                side.grant(given_)


def test_a_key_in_constant_use_is_limited_all_the_time(box: Box) -> None:
    """Also from the table of recent hits, and when the cache is read again."""
    box.limit(ONE)
    check = box.check()
    for _ in range(150):
        assert [type(check(box.request())) for _ in range(11)] == [Principal] * 10 + [Verdict]
        box.clock.now += SECOND


def test_a_changed_plan_applies_at_once(box: Box) -> None:
    check = box.check()
    for burst in (3, 1, 5):
        box.limit(LimitPlan((StoredLimit(1, rate_limit("10/second", burst=burst)),)))
        found = [check(box.request()) is not Verdict.UNDECIDED for _ in range(7)]
        assert found == [True] * burst + [False] * (7 - burst)
        box.clock.now += SECOND
    box.limit(None)
    environ = box.request()
    assert isinstance(check(environ), Principal)
    assert LIMITS not in environ


PAST = datetime(2001, 1, 1, tzinfo=UTC)
REFUSALS: list[dict[str, Any]] = [
    {"revoked": True},
    {"deadline": 1},
    {"ticket": 1},
    {"digest": b"x" * 16},
    {"conditions": Conditions(networks=parse_networks(["10.0.0.0/8"]))},
    {"conditions": Conditions(enabled=False)},
    {"conditions": Conditions(not_before=PAST + timedelta(days=400_000))},
]


@pytest.mark.parametrize("fields", REFUSALS)
@pytest.mark.parametrize("recent", [False, True])
def test_only_an_admitted_request_takes(box: Box, fields: dict[str, Any], recent: bool) -> None:
    box.limit(ONE)
    check = box.check()
    if recent:
        assert isinstance(check(box.request()), Principal)
        box.clock.now += SECOND
    box.limit(ONE, **fields)
    assert check(box.request()) is Verdict.UNDECIDED
    assert ONE.look(box.tables).levels() == [("default", 10, 0)]


def test_an_invalidated_entry_takes_nothing(box: Box) -> None:
    box.limit(ONE)
    check = box.check()
    for _ in range(3):
        assert isinstance(check(box.request()), Principal)
    box.worker.authenticator.invalidate(lookup_key(box.secret))
    assert check(box.request()) is Verdict.UNDECIDED
    assert ONE.look(box.tables).levels() == [("default", 7, 1)]


def test_a_check_that_takes_no_limits_leaves_the_key_undecided(box: Box) -> None:
    box.limit(ONE)
    check = box.check(takes_limits=False)
    for _ in range(3):
        assert check(box.request()) is Verdict.UNDECIDED
    assert ONE.look(box.tables).levels() == [("default", 10, 0)]
    with pytest.raises(ValueError, match="tuple"):
        box.check(header_style="y")


# ---------------------------------------------------------------- records


def test_a_record_carries_the_limits(box: Box) -> None:
    plan = LimitPlan(
        (StoredLimit(1, rate_limit("10/second")), StoredLimit(2, quota_limit("q", 5, "day"), 4)),
        (StoredLimit(3, rate_limit("10/second")),),
    )
    for conditions in (NO_CONDITIONS, Conditions(networks=parse_networks(["10.0.0.0/8"]))):
        entry = CacheEntry(
            ticket=1,
            deadline=2,
            digest=b"d" * 16,
            principal=box.found,
            revoked=False,
            conditions=conditions,
            limits=plan,
        )
        record = entry.record()
        assert record is not None
        lookup = lookup_key(box.secret)
        found = CacheEntry.of_record(lookup, record, 1, 2)
        assert found is not None
        assert found.limits == plan
        assert (found.evaluation is None) == (conditions == NO_CONDITIONS)
        assert found.record() == record
        # A damaged record is never that of a key without limits.
        for end in range(len(record)):
            cut = CacheEntry.of_record(lookup, record[:end], 1, 2)
            assert cut is None
        for at in range(44, len(record)):
            damaged = bytearray(record)
            damaged[at] ^= 0x80
            read = CacheEntry.of_record(lookup, bytes(damaged), 1, 2)
            assert read is None or read.limits is not None
