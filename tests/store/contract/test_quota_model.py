"""Quotas over several segments, in every order of events: never exceeded, and nothing is lost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latchkey.credentials.limits import QuotaLimit, StoredLimit, quota_limit
from latchkey.credentials.models import Change
from latchkey.credentials.quotas import Held, Reservation
from latchkey.store.audit_head import Seal
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from latchkey.store.protocols import Store
from tests.support.audited import add, change
from tests.support.store.new_credentials import new_credential

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
SEGMENTS = ("a" * 32, "b" * 32, "c" * 32)


@dataclass
class Memory:
    """What the processes of a segment share, as in ``fastcache.shared.QuotaTable``.

    The words are pairs of an epoch and units. ``reserved`` are reservations that a process has not
    published yet, ``late`` what has not been given back yet.
    """

    spent: tuple[int, int] = (0, 0)
    granted: tuple[int, int] = (0, 0)
    generation: int = 0
    reserved: list[Reservation] = field(default_factory=list)
    late: list[tuple[int, int, int]] = field(default_factory=list)

    def spend(self, cost: int, generation: int) -> int | None:
        """The epoch in which the units were spent; None if the store is needed."""
        epoch, units = self.spent
        if self.generation != generation or self.granted[0] != epoch:
            return None
        if units + cost > self.granted[1]:
            return None
        self.spent = (epoch, units + cost)
        return epoch

    def publish(self, made: Reservation) -> None:
        word = (made.epoch, made.reserved)
        if word > self.granted:
            self.granted = word
            self.generation = made.generation
        if self.spent[0] < made.epoch:
            self.late.append((*self.spent, made.epoch))
            self.spent = (made.epoch, 0)

    @property
    def held(self) -> Held:
        return Held(self.granted[0], self.granted[1], self.spent[1] if self._is_one else 0)

    @property
    def _is_one(self) -> bool:
        return self.spent[0] == self.granted[0]


class Office:
    """One quota, its segments, and the units that were spent in each period."""

    def __init__(self, store: Store, quota: int) -> None:
        self.store = store
        self.now = START
        definition = quota_limit("q", quota, "day")
        new = new_credential(limits=(definition,), created_at=START)
        self.key = add(store, new)
        self.memories = {segment: Memory() for segment in SEGMENTS}
        # The periods are numbered by their first epoch.
        self.first_epochs: dict[int, int] = {1: 1}
        self.base = 1
        self.largest: dict[int, int] = {1: quota}
        self.spent: dict[int, int] = defaultdict(int)

    @property
    def limit(self) -> StoredLimit:
        return self.key.limits[0]

    @property
    def quota(self) -> int:
        assert isinstance(self.limit.limit, QuotaLimit)
        return self.limit.limit.quota

    def spend(self, segment: str, cost: int) -> None:
        memory = self.memories[segment]
        epoch = memory.spend(cost, self.limit.generation)
        if epoch is None:
            made = self.reserve(segment, cost)
            memory.publish(made)
            epoch = memory.spend(cost, self.limit.generation)
            assert made.suffices is (epoch is not None)
        if epoch is not None:
            self.spent[self.first_epochs[epoch]] += cost

    def reserve(self, segment: str, cost: int) -> Reservation:
        held = self.memories[segment].held
        made = self.store.limits.reserve(self.limit.id, segment, cost, self.now, held)
        assert made is not None
        self.note(made.epoch)
        return made

    def note(self, epoch: int) -> None:
        """Note the period of a new epoch."""
        if epoch not in self.first_epochs:
            # Only a new period begins an epoch without a change.
            self.base = epoch
            self.first_epochs[epoch] = epoch
        self.largest[self.base] = max(self.largest.get(self.base, 0), self.quota)

    def change(self, terms: Change) -> None:
        before = self.state()
        self.note(before[0])
        self.key = change(self.store, self.key.api_key, self.now, lambda found: terms)
        epoch, _ = self.state()
        if terms.renewed:
            self.base = epoch
        self.first_epochs.setdefault(epoch, self.base)
        self.largest[self.base] = max(self.largest.get(self.base, 0), self.quota)

    def state(self) -> tuple[int, int]:
        use = self.store.limits.states([self.limit.id], self.now)[self.limit.id]
        return use.epoch, use.used

    def give_back(self, segment: str) -> None:
        memory = self.memories[segment]
        for epoch, spent, following in memory.late:
            self.store.limits.give_back(self.limit.id, epoch, segment, spent, following)
        memory.late.clear()

    def check(self) -> None:
        for base, spent in self.spent.items():
            assert spent <= self.largest[base]

    def end(self) -> None:
        """All segments publish and give back; exactly what was spent is charged."""
        for segment, memory in self.memories.items():
            memory.publish(self.reserve(segment, 0))
            self.give_back(segment)
        _, used = self.state()
        unspent = sum(one.granted[1] - one.spent[1] for one in self.memories.values())
        assert used - unspent == self.spent[self.base]
        for segment, memory in self.memories.items():
            self.store.limits.give_back(self.limit.id, memory.spent[0], segment, memory.spent[1])
        assert self.state()[1] == self.spent[self.base]
        left = self.quota - self.spent[self.base]
        if left > 0:
            last = self.store.limits.reserve(self.limit.id, "d" * 32, left, self.now)
            assert last is not None
            assert last.suffices


_segments = st.sampled_from(SEGMENTS)
_events = st.one_of(
    st.tuples(st.just("spend"), _segments, st.integers(1, 12)),
    st.tuples(st.just("spend"), _segments, st.integers(1, 300)),
    st.tuples(st.just("reserve"), _segments, st.integers(1, 50)),
    st.tuples(st.just("publish"), _segments, st.integers(0, 3)),
    st.tuples(st.just("kill"), _segments, st.integers(0, 3)),
    st.tuples(st.just("give back"), _segments, st.just(0)),
    st.tuples(st.just("quota"), st.just(""), st.integers(1, 400)),
    st.tuples(st.just("renew"), st.just(""), st.just(0)),
    st.tuples(st.just("clock"), st.just(""), st.integers(-30, 30)),
)


_quotas = st.integers(1, 400)
_all_events = st.lists(_events, max_size=40)


@given(quota=_quotas, events=_all_events)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_quota_is_never_exceeded(
    store: Store, quota: int, events: list[tuple[str, str, int]]
) -> None:
    play(store, quota, events)


@given(quota=_quotas, events=_all_events)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_quota_is_never_exceeded_in_memory(
    seal: Seal, quota: int, events: list[tuple[str, str, int]]
) -> None:
    play(open_memory_store(MemoryDatabase(), seal), quota, events)


def play(store: Store, quota: int, events: list[tuple[str, str, int]]) -> None:
    office = Office(store, quota)
    for event, segment, number in events:
        if event == "quota":
            office.change(Change(limits=(quota_limit("q", number, "day"),)))
        elif event == "renew":
            office.change(Change(renewed=frozenset({"q"})))
        elif event == "clock":
            office.now += timedelta(hours=number)
        elif event == "spend":
            office.spend(segment, number)
        elif event == "give back":
            office.give_back(segment)
        elif event == "reserve":
            office.memories[segment].reserved.append(office.reserve(segment, number))
        elif number < len(office.memories[segment].reserved):
            # A process that is killed publishes nothing.
            made = office.memories[segment].reserved.pop(number)
            if event == "publish":
                office.memories[segment].publish(made)
        office.check()
    office.end()
