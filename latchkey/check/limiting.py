"""Taking from the limits of keys in Python: refusals, and the reservation of units of quotas.

Compiled code takes from rates, and from the reserved units of quotas (_limits.pyx). A request that
it refuses or cannot decide is decided here again, by the same plan. Units of a quota are reserved
in the database before they are published to the workers, so no unit is ever spent twice. If a
worker is killed in between, the next one publishes the row that it left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from fastcache.shared import Counters, QuotaState
from latchkey.box.counter_names import Count, Use
from latchkey.box.limit_tables import LimitTables
from latchkey.check._limits import NEEDS_STORE, TAKEN, LimitOutcome, LimitPlan
from latchkey.credentials.limits import QuotaLimit, RateLimit, StoredLimit
from latchkey.credentials.quotas import EPOCH_TAGS, Held, Reservation
from latchkey.credentials.times import utc_now
from latchkey.errors import LimitReached, QuotaExceeded, RateLimited, StoreError
from latchkey.errors.limits import HeaderStyle
from latchkey.store.protocols import LimitStore
from latchkey.wording import counted

LIMITS_KEY = "latchkey.limits"
"""The variable of a request's environ with the LimitOutcome of what it took."""
PLAN_KEY = "latchkey.plan"
"""The variable with the LimitPlan of a request that has yet to take from it."""

# More than the limits of a plan, each of which may need a reservation. Other workers may spend what
# was reserved; near the end of a quota, it is reserved unit by unit.
_MOST_ATTEMPTS = 64
_LOCKS = 64
# Seconds for which a quota that was used up is not asked for again. Others may give units back.
_USED_UP = 1.0
_MOST_USED_UP = 4_096
# A reservation that fails after this many seconds keeps others from waiting as long.
_SLOW = 1.0
# Seconds for which no reservation is tried after that.
_PAUSE = 1.0
_SECOND = 1_000_000_000
_DAY = 86_400
_NEVER = 65_535
"""The day on which a period without an end ends, in shared memory."""


class _UsedUp(NamedTuple):
    """A quota of which the database had no more units, and until when it is not asked again."""

    generation: int
    state: QuotaState
    cost: int
    ends: datetime | None
    until: float


class _Failure(NamedTuple):
    """The last failure of the database to reserve units, and when it was."""

    at: float
    detail: str


class _Stall(NamedTuple):
    """A failure that the database took long for, and until when no reservation is tried."""

    detail: str
    until: float


class Limiter:
    """Takes from the limits of keys, for the threads of one worker."""

    def __init__(
        self,
        tables: LimitTables,
        store: LimitStore | None,
        segment: str,
        counters: Counters,
        count_refusal: Callable[[int, Use], None],
        *,
        style: HeaderStyle = "standard",
        clock: Callable[[], datetime] = utc_now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``segment`` is the UUID in hex under which this memory's units are reserved.

        Without a ``store``, nothing can be reserved. ``style`` is that of the headers that show
        what is left. ``clock`` gives the time in UTC, and ``timer`` seconds of CLOCK_MONOTONIC.
        """
        self.tables = tables
        self.style = style
        self._store = store
        self._segment = segment
        self._counters = counters
        self._count_refusal = count_refusal
        self._clock = clock
        self._timer = timer
        # Only for reservations: nothing waits for a lock to spend what is reserved.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._used_up: dict[int, _UsedUp] = {}
        self._failures: dict[int, _Failure] = {}
        self._stall: _Stall | None = None
        self._trial = threading.Lock()

    def take(self, plan: LimitPlan, credential_id: int, cost: int = 1) -> LimitOutcome:
        """Take ``cost`` units from each limit of a plan, or from none.

        Raises RateLimited or QuotaExceeded, which is counted for the credential; StoreError if
        units had to be reserved and the database failed, or if there is no memory for a limit.
        """
        for _ in range(_MOST_ATTEMPTS):
            outcome = plan.take(self.tables, cost)
            if outcome.verdict == TAKEN:
                self._count_admission(plan)
                return outcome
            if outcome.verdict != NEEDS_STORE:
                raise self._refusal(outcome, _seconds(outcome.wait_ns), credential_id)
            plan = self._reserve(plan, outcome, credential_id)
        raise StoreError("the units of a quota are spent faster than they are reserved")

    def takes_at_once(self, plan: LimitPlan, cost: int) -> bool:
        """Whether ``cost`` units could be taken without waiting for anything; counts no refusal."""
        if plan.take(self.tables, cost).verdict != TAKEN:
            return False
        self._count_admission(plan)
        return True

    def _reserve(self, plan: LimitPlan, outcome: LimitOutcome, credential_id: int) -> LimitPlan:
        """Reserve units of the quota that an outcome names; returns the plan to continue with.

        That is another one if the quota was changed since the plan was read. Raises QuotaExceeded.

        While the database is stalled, one thread at a time tries again. The others fail at once, so
        that requests that need no reservation find free threads.
        """
        stall = self._stall
        if stall is None:
            return self._reserve_in_turn(plan, outcome, credential_id)
        if self._timer() < stall.until or not self._trial.acquire(blocking=False):
            raise StoreError(stall.detail)
        try:
            return self._reserve_in_turn(plan, outcome, credential_id)
        finally:
            self._trial.release()

    def _reserve_in_turn(
        self, plan: LimitPlan, outcome: LimitOutcome, credential_id: int
    ) -> LimitPlan:
        """The same, after all others that reserve units of the quota."""
        stored, cost = plan.limits[outcome.index], outcome.cost
        quotas = self.tables.quotas
        turn = stored.id % _LOCKS
        began = self._timer()
        with self._locks[turn]:
            failure = self._failures.get(turn)
            if failure is not None and failure.at >= began:
                # It happened while this thread waited. Another attempt would take as long.
                raise StoreError(failure.detail)
            again = plan.look(self.tables, cost)
            if (again.verdict, again.index) != (NEEDS_STORE, outcome.index):
                # Another thread has reserved units meanwhile.
                return plan
            state = quotas.state(stored.id)
            known = self._used_up.get(stored.id)
            if known is not None and self._still_holds(known, stored, state, cost):
                raise self._refusal(outcome, self._wait(known.ends), credential_id)
            held = Held(state.epoch_tag, state.granted, state.spent) if any(state) else None
            if self._store is None:
                raise StoreError("there is no database to reserve units of quotas in")
            try:
                found = self._store.reserve(stored.id, self._segment, cost, self._clock(), held)
            except StoreError as error:
                now = self._timer()
                self._failures[turn] = _Failure(now, error.detail)
                slow = now - began >= _SLOW
                self._stall = _Stall(error.detail, now + _PAUSE) if slow else None
                raise
            self._stall = None
            if found is None:
                raise StoreError(f"the limit {stored.id} is not in the database")
            if self._publish(self._store, stored.id, found) or found.suffices:
                self._used_up.pop(stored.id, None)
                return _changed(plan, stored, found)
            if len(self._used_up) >= _MOST_USED_UP:
                self._used_up.clear()
            self._used_up[stored.id] = _UsedUp(
                found.generation,
                quotas.state(stored.id),
                cost,
                found.until,
                self._timer() + _USED_UP,
            )
        wait = None if cost > found.quota else self._wait(found.until)
        raise self._refusal(outcome, wait, credential_id)

    def _publish(self, store: LimitStore, limit_id: int, found: Reservation) -> bool:
        """Publish a reservation; whether units of a former epoch were given back for it."""
        until = _NEVER if found.until is None else int(found.until.timestamp()) // _DAY
        ended = self.tables.quotas.publish(
            limit_id,
            found.epoch,
            found.generation,
            found.reserved,
            until,
            found.used - found.reserved,
        )
        if ended is None:
            return False
        epoch, spent = ended
        store.give_back(limit_id, epoch, self._segment, spent, found.epoch)
        return True

    def _still_holds(
        self, known: _UsedUp, stored: StoredLimit, state: QuotaState, cost: int
    ) -> bool:
        return (
            known.state == state
            and known.generation == stored.generation
            and cost >= known.cost
            and self._timer() < known.until
            and (known.ends is None or self._clock() < known.ends)
        )

    def _wait(self, until: datetime | None) -> int | None:
        """The whole seconds until then, at least 1."""
        if until is None:
            return None
        return max(1, -int((self._clock() - until).total_seconds() // 1))

    def _refusal(self, outcome: LimitOutcome, wait: int | None, credential_id: int) -> LimitReached:
        """The refusal by the limit that an outcome names, which is counted."""
        name = outcome.plan.names[outcome.index]
        limit = outcome.plan.limits[outcome.index].limit
        if isinstance(limit, RateLimit):
            self._count_refusal(credential_id, Use.RATE_LIMITED)
            self._counters.add(Count.RATES_REFUSED)
            return RateLimited(wait, _rate_message(name, wait), outcome)
        self._count_refusal(credential_id, Use.QUOTA_EXCEEDED)
        self._counters.add(Count.QUOTAS_REFUSED)
        return QuotaExceeded(wait, _quota_message(name, limit, wait, outcome.cost), outcome)

    def _count_admission(self, plan: LimitPlan) -> None:
        if plan.has_rates:
            self._counters.add(Count.RATES_ADMITTED)
        if plan.has_quotas:
            self._counters.add(Count.QUOTAS_ADMITTED)


def _changed(plan: LimitPlan, stored: StoredLimit, found: Reservation) -> LimitPlan:
    """The plan with the quota as it is now: it may have been changed after the plan was read."""
    limit = stored.limit
    same = stored.generation % EPOCH_TAGS == found.generation % EPOCH_TAGS
    if same or not isinstance(limit, QuotaLimit):
        return plan
    present = StoredLimit(stored.id, replace(limit, quota=found.quota), found.generation)
    limits = [present if one.id == stored.id else one for one in plan.limits]
    given = list(zip(plan.sources, limits, strict=True))
    defaults = [
        (one.limit, one.id)
        for source, one in given
        if source == "default" and isinstance(one.limit, RateLimit)
    ]
    return LimitPlan(
        tuple(one for source, one in given if source == "key"),
        tuple(one for source, one in given if source == "account"),
        defaults[0] if defaults else None,
    )


def _seconds(nanoseconds: int | None) -> int | None:
    """Whole seconds, rounded up, at least 1."""
    return None if nanoseconds is None else max(1, -(-nanoseconds // _SECOND))


def _rate_message(name: str, wait: int | None) -> str:
    if wait is None:
        return f"This request costs more than the rate limit {name} ever allows at once"
    return f"Too many requests for the rate limit {name}; try again in {counted(wait, 'second')}"


def _quota_message(name: str, limit: QuotaLimit, wait: int | None, cost: int) -> str:
    if cost > limit.quota:
        return f"This request costs more than the whole quota {name}"
    if wait is None:
        return f"The quota {name} is used up, and is not refilled; ask for a larger one"
    return f"The quota {name} is used up; it is refilled in {counted(wait, 'second')}"
