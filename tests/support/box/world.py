"""A world of several boxes with one database, in which time and every step are decided by a test.

The boxes run the code of ``latchkey.box`` over the store in memory. A poll, a registration and the
waiting of a change are generators, so anything can happen between two of their steps: other
workers run, time passes, the box is cut off, killed or suspended, the log is rewound. Each box has
a clock of its own rate.

A cached value must be at least as new as the last change of its key that was answered before the
request began; ``World`` raises Stale otherwise. ``Protocol`` says which code the boxes run: a test
takes one step out, and shows that the world then finds a stale value.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from latchkey.box.confirmations import Confirmations
from latchkey.box.leases import box_name
from latchkey.box.poller import Poller
from latchkey.box.registration import Identity, Registration
from latchkey.box.shared import SharedState, Word
from latchkey.credentials.models import Invalidation
from latchkey.credentials.publishing import Publication
from latchkey.errors import StoreError
from latchkey.store.memory.boxes import MemoryBoxStore
from latchkey.store.memory.state import MemoryDatabase, State
from latchkey.store.places import ChangePlaces

T = TypeVar("T")

MILLISECOND = 1_000_000
BATCH = 3
KEYS = ("acct_one", "acct_two")
LEASES_MS = (5_000, 5_000, 2_000)
# Parts of a thousand: the fastest clock is 15 % faster than the slowest.
RATES = (1_000, 1_150, 1_000)


class Stale(AssertionError):
    """A box served a value that is older than a change that had been answered."""


class Store(MemoryBoxStore):
    """The boxes in a database that one of them may be cut off from; long logs have few rows."""

    def log_from(self, number: int) -> list[Invalidation]:
        return super().log_from(number)[:BATCH]


class Link(MemoryDatabase):
    """One box's connection to the database of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_cut = False

    @property
    def committed(self) -> State:  # type: ignore[override]
        self._require()
        return self._world.database.committed

    def change(self, transaction: Callable[[State], T], patience: float = 10.0) -> T:
        self._require()
        return self._world.database.change(transaction)

    def _require(self) -> None:
        if self.is_cut:
            raise StoreError("the box is cut off")


class Settling(Confirmations):
    """The waiting of a change, which a test may have begin before the commit."""

    def before_commit(self) -> None:
        """Called when a transaction has begun."""


@dataclass(frozen=True)
class Protocol:
    """The code that the boxes run, and the rules that lie outside of it."""

    poller: type[Poller] = Poller
    registration: type[Registration] = Registration
    settling: type[Settling] = Settling
    store: type[Store] = Store
    takes_turns: bool = True
    """Whether a transaction takes its number only when no other one is under way."""
    needs_lease: bool = True
    """Whether cached values count only during a lease."""
    counts_suspension: bool = True
    """Whether clocks go on while a machine is suspended."""
    stops_last: bool = True
    """Whether a box says that it has stopped only when it serves no more."""


@dataclass
class Change:
    """A change of a key: begun, then committed, then waiting, then answered or failed."""

    box: Box
    settling: Settling
    key: str
    number: int = 0
    nonce: int = 0
    version: int = 0
    waiting: Iterator[float] | None = None
    is_answered: bool = False


@dataclass
class Request:
    """A request that missed the cache: the ticket was loaded, the SELECT comes later."""

    key: str
    ticket: int
    floor: int


@dataclass
class Cached:
    """A cached value and its ticket."""

    version: int
    ticket: int


class Box:
    """A box: its shared memory, its connection and its clock."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.link = Link(world)
        self.boxes = world.protocol.store(self.link, world.utc)
        self.suspended = 0
        self.begin()

    def begin(self) -> None:
        """Start with new memory."""
        protocol = self.world.protocol
        self.shared = SharedState.private(leased=protocol.needs_lease, boot_clock=self.clock)
        self.poller = self.other_worker(LEASES_MS[self.number])
        self.polls: list[Generator[None, None, bool]] = []
        self.cache: dict[str, Cached] = {}
        self.requests: list[Request] = []

    def other_worker(
        self, lease_ms: int, on_replacement: Callable[[], None] = lambda: None
    ) -> Poller:
        """The poller of another worker of this box, perhaps of a service with another lease."""
        protocol = self.world.protocol
        identity = Identity("box", "1", "memory", ("key",), 2, lease_ms)
        registration = protocol.registration(self.boxes, self.shared, identity)
        poller = protocol.poller(
            self.boxes, self.shared, registration, self.clock, on_replacement=on_replacement
        )
        poller.batch = BATCH
        return poller

    def clock(self) -> int:
        """The box's CLOCK_BOOTTIME."""
        now = self.world.now
        if not self.world.protocol.counts_suspension:
            now -= self.suspended
        return 10**15 * (1 + self.number) + now * RATES[self.number] // 1_000

    def settling(self) -> Settling:
        return self.world.protocol.settling(self.boxes, ChangePlaces(None), self.clock)

    # ---- Polling

    def begin_poll(self) -> None:
        """One more worker takes a turn."""
        self.polls.append(self.poller.steps())

    def step_poll(self, index: int = 0) -> bool:
        """The next step of a worker's poll; False when it has ended."""
        try:
            next(self.polls[index])
        except (StopIteration, StoreError):
            del self.polls[index]
            return False
        return True

    def poll(self) -> None:
        """A whole poll, beside those that are under way."""
        self.begin_poll()
        while self.step_poll(len(self.polls) - 1):
            pass

    def catch_up(self) -> None:
        """Poll to the end of the log, which renews the lease."""
        self.poller.run()

    # ---- Serving

    def generation(self, key: str) -> int:
        return self.shared.stripes.generation(key)

    def begin_request(self, key: str) -> None:
        """A request: answered from the cache, or with a read that is still to be made."""
        floor = self.world.floors[key]
        found = self.cache.get(key)
        if found is not None and found.ticket == self.generation(key) and self.shared.has_lease():
            self.world.serve(self, key, found.version, floor)
        else:
            self.requests.append(Request(key, self.generation(key), floor))

    def end_request(self, index: int = 0) -> None:
        """The SELECT of a request that missed the cache, and its answer."""
        request = self.requests.pop(index)
        try:
            version = self.link.committed.uses.get((KEYS.index(request.key), 0), 0)
        except StoreError:
            return
        self.cache[request.key] = Cached(version, request.ticket)
        self.world.serve(self, request.key, version, request.floor)

    def request(self, key: str) -> None:
        """A whole request, if it needs no read that cannot be made."""
        before = len(self.requests)
        self.begin_request(key)
        if len(self.requests) > before:
            self.end_request(before)

    # ---- Its end

    def kill(self) -> None:
        """All processes die at once, and new ones start."""
        for change in self.world.changes:
            if change.box is self:
                change.waiting = None
        self.begin()

    def stop(self) -> None:
        """Stop serving, then say so; new processes start."""
        box_id = self.shared.words.value(Word.BOX)
        if self.world.protocol.stops_last:
            self.kill()
        if box_id and not self.link.is_cut:
            self.boxes.stop(box_name(box_id))


@dataclass
class World:
    """All boxes, their database, the changes under way, and the time in nanoseconds."""

    protocol: Protocol = field(default_factory=Protocol)
    now: int = 10**12

    def __post_init__(self) -> None:
        self.database = MemoryDatabase()
        self.floors = dict.fromkeys(KEYS, 0)
        self.answered: list[Change] = []
        self.changes: list[Change] = []
        self._begun: list[Change] = []
        self._versions = 0
        self._sequence = 0
        self._former: list[State] = [self.database.committed]
        self.boxes = [Box(self, number) for number in range(len(LEASES_MS))]
        self.served = 0

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.now // 1_000)

    def advance(self, milliseconds: float) -> None:
        self.now += round(milliseconds * MILLISECOND)

    def suspend(self, box: Box, milliseconds: int) -> None:
        """One machine is suspended, and resumes."""
        box.suspended += milliseconds * MILLISECOND
        self.advance(milliseconds)

    def serve(self, box: Box, key: str, version: int, floor: int) -> None:
        self.served += 1
        if version < floor:
            raise Stale(f"box {box.number} served {key} as of {version}, but {floor} was answered")

    # ---- Changes

    def begin_change(self, box: Box, key: str) -> Change | None:
        """Begin a transaction: it gets the next number; None if another one has to end first."""
        if box.link.is_cut or (self.protocol.takes_turns and self._begun):
            return None
        self._sequence += 1
        change = Change(box, box.settling(), key, self._sequence)
        try:
            change.settling.before_commit()
        except StoreError:
            return None
        self._begun.append(change)
        return change

    def commit(self, change: Change) -> None:
        """Commit a transaction, and invalidate in its own box."""
        self._begun.remove(change)
        self._versions += 1
        change.version = self._versions
        change.nonce = change.version + 10**6

        def transaction(state: State) -> None:
            row = Invalidation(change.number, change.key, 0, change.nonce)
            state.invalidations = sorted([*state.invalidations, row])
            state.uses[(KEYS.index(change.key), 0)] = change.version

        self.database.change(transaction)
        self.keep_state()
        self.changes.append(change)
        change.box.shared.invalidate(change.key)
        publication = Publication([change.key], [change.number])
        change.waiting = change.settling.steps(publication)

    def step_change(self, change: Change) -> bool:
        """The next step of waiting; False when the change was answered or has failed."""
        if change.waiting is None:
            return False
        try:
            next(change.waiting)
        except StopIteration:
            self._answer(change)
            return False
        except StoreError:
            change.waiting = None
            return False
        return True

    def retry(self, change: Change, box: Box) -> None:
        """Make a change again, at any box: it is found made, and waits."""
        if change.waiting is None and not change.is_answered and self.has(change):
            again = replace(
                change,
                box=box,
                waiting=box.settling().steps(Publication([change.key]), found_made=True),
            )
            box.shared.invalidate(change.key)
            self.changes[self.changes.index(change)] = again

    def change(self, box: Box, key: str, *, waits: bool = True) -> Change:
        """A whole change; without ``waits``, up to its first look at the boxes."""
        change = self.begin_change(box, key)
        assert change is not None
        self.commit(change)
        self.step_change(change)
        while waits and self.step_change(change):
            self.advance(100)
        return change

    def has(self, change: Change) -> bool:
        """Whether a change is in the log, which may have been rewound."""
        rows = self.database.committed.invalidations
        return any(row.nonce == change.nonce for row in rows)

    def _answer(self, change: Change) -> None:
        change.waiting = None
        change.is_answered = True
        self.answered.append(change)
        self._find_floors()

    def _find_floors(self) -> None:
        """The last answered change of each key, without those that were lost with the log."""
        self.floors = {
            key: max(
                (one.version for one in self.answered if one.key == key and self.has(one)),
                default=0,
            )
            for key in KEYS
        }

    # ---- Other histories

    def keep_state(self) -> None:
        """Remember the present state; a rewind goes to one of them."""
        committed = self.database.committed
        former = self._former[-1]
        if committed.boxes.keys() != former.boxes.keys():
            # Registrations are never lost: the box would not be waited for at all.
            self._former.clear()
        self._former.append(committed)

    def rewind(self, steps: int) -> None:
        """Promote a standby that lacks the last commits, or restore a backup in their place."""
        self.keep_state()
        self.database.committed = self._former[max(0, len(self._former) - 1 - steps)]
        del self._former[:]
        self._former.append(self.database.committed)
        self._begun.clear()
        rows = self.database.committed.invalidations
        self._sequence = rows[-1].number if rows else 0
        self._find_floors()

    def ids(self) -> set[str]:
        """The ids of the live boxes."""
        return {box.id for box in self.boxes[0].boxes.live()}


Scenario = Callable[[World], None]
