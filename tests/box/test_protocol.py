"""The protocol of several boxes: no box serves a value older than the last answered change.

A state machine tries any order of steps. A table takes out one step of the protocol after the
other: the same steps of the boxes, which are harmless with it, then lead to a stale value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from latchkey.box.leases import Applied
from latchkey.box.poller import Poller
from latchkey.box.registration import Registration
from latchkey.box.shared import Word
from latchkey.credentials.models import Invalidation
from latchkey.credentials.publishing import Publication
from latchkey.store.protocols.boxes import Box as Listed
from tests.support.box.world import (
    BATCH,
    KEYS,
    LEASES_MS,
    MILLISECOND,
    Box,
    Change,
    Protocol,
    Scenario,
    Settling,
    Stale,
    Store,
    World,
)

ONE, TWO = KEYS
LEASE = LEASES_MS[0]
boxes = st.integers(0, len(LEASES_MS) - 1)
keys = st.sampled_from(KEYS)
indices = st.integers(0, 3)


class Machine(RuleBasedStateMachine):
    """Any steps of any boxes, workers, changes and requests, in any order."""

    protocol = Protocol()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.protocol)
        self.begun: list[Change] = []

    def box(self, number: int) -> Box:
        return self.world.boxes[number]

    @rule(milliseconds=st.sampled_from([1, 50, 200, 1_000, 1_900, 3_900, 4_400, 5_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.world.advance(milliseconds)

    @rule(number=boxes, milliseconds=st.sampled_from([500, 6_000]))
    def a_machine_is_suspended(self, number: int, milliseconds: int) -> None:
        self.world.suspend(self.box(number), milliseconds)

    @rule(number=boxes)
    def a_worker_polls(self, number: int) -> None:
        self.box(number).poll()

    @rule()
    def every_box_polls(self) -> None:
        for box in self.world.boxes:
            for _ in range(3):
                box.poll()

    @rule(number=boxes)
    def a_poll_begins(self, number: int) -> None:
        if len(self.box(number).polls) < 2:
            self.box(number).begin_poll()

    @rule(number=boxes, index=indices, steps=st.integers(1, 4))
    def a_poll_goes_on(self, number: int, index: int, steps: int) -> None:
        for _ in range(steps):
            if index < len(self.box(number).polls):
                self.box(number).step_poll(index)

    @rule(number=boxes, index=indices)
    def a_polling_worker_dies(self, number: int, index: int) -> None:
        if index < len(self.box(number).polls):
            del self.box(number).polls[index]

    @rule()
    def every_box_has_read_everything(self) -> None:
        for box in self.world.boxes:
            for _ in range(3):
                box.poll()
            for key in KEYS:
                box.request(key)

    @rule(number=boxes, key=keys)
    def a_request(self, number: int, key: str) -> None:
        self.box(number).request(key)

    @rule(key=keys)
    def a_request_at_each_box(self, key: str) -> None:
        for box in self.world.boxes:
            box.request(key)

    @rule(number=boxes, key=keys)
    def a_request_begins(self, number: int, key: str) -> None:
        self.box(number).begin_request(key)

    @rule(number=boxes, index=indices)
    def a_request_ends(self, number: int, index: int) -> None:
        if index < len(self.box(number).requests):
            self.box(number).end_request(index)

    @rule(number=boxes, key=keys)
    def a_change_begins(self, number: int, key: str) -> None:
        change = self.world.begin_change(self.box(number), key)
        if change is not None:
            self.begun.append(change)

    @precondition(lambda self: self.begun)
    @rule(index=indices)
    def a_change_commits(self, index: int) -> None:
        change = self.begun.pop(index % len(self.begun))
        self.world.commit(change)

    @rule(number=boxes, key=keys)
    def a_change_begins_to_wait(self, number: int, key: str) -> None:
        if not self.begun and not self.box(number).link.is_cut:
            self.world.change(self.box(number), key, waits=False)

    @precondition(lambda self: self.world.changes)
    @rule()
    def every_change_looks_once(self) -> None:
        for change in tuple(self.world.changes[-4:]):
            self.world.step_change(change)

    @precondition(lambda self: self.world.changes)
    @rule(index=indices, steps=st.integers(1, 3))
    def a_change_waits(self, index: int, steps: int) -> None:
        for _ in range(steps):
            self.world.step_change(self.world.changes[-1 - index % len(self.world.changes)])

    @rule(number=boxes, key=keys)
    def a_change_is_answered(self, number: int, key: str) -> None:
        if not self.begun and not self.box(number).link.is_cut:
            change = self.world.change(self.box(number), key)
            assert change.is_answered or not self.world.has(change)

    @precondition(lambda self: self.world.changes)
    @rule(number=boxes, index=indices)
    def a_change_is_retried(self, number: int, index: int) -> None:
        change = self.world.changes[-1 - index % len(self.world.changes)]
        self.world.retry(change, self.box(number))

    @rule(number=boxes)
    def a_box_is_cut_off_or_connected(self, number: int) -> None:
        self.box(number).link.is_cut ^= True

    @rule(number=boxes)
    def a_box_is_killed(self, number: int) -> None:
        self.box(number).kill()

    @rule(number=boxes)
    def a_box_stops(self, number: int) -> None:
        self.box(number).stop()

    @rule(steps=st.integers(1, 3))
    def the_log_is_rewound(self, steps: int) -> None:
        self.begun.clear()
        self.world.rewind(steps)


def bounds(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def test_no_box_serves_an_older_value_than_the_last_answered_change(long: bool) -> None:
    run_state_machine_as_test(Machine, settings=bounds(20_000 if long else 100, 60))


# ---- One step taken out


class NoComparison(Poller):
    """Reads on after the number of the last row."""

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        return True


class NoNonce(Poller):
    """Recognises the last row by its number only."""

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        return not applied.number or (bool(rows) and rows[0].number == applied.number)


class ConfirmsFirst(Poller):
    """Confirms rows before it applies them."""

    def _apply(self, rows: Sequence[Invalidation]) -> None:
        self.later = rows

    def _renew(self, sent: int) -> None:
        super()._apply(self.later)
        super()._renew(sent)


class RenewsFirst(Poller):
    """Renews the lease before the confirmation is committed."""

    def _apply(self, rows: Sequence[Invalidation]) -> None:
        super()._apply(rows)
        self._renew(self._clock())


class IgnoresRefusals(Poller):
    """Renews the lease although the box was declared dead."""

    def _confirm(self, box_id: int, last: Applied) -> bool:
        super()._confirm(box_id, last)
        return True


class RenewsFromNow(Poller):
    """Extends the lease from the time of its end."""

    def _renew(self, sent: int) -> None:
        super()._renew(self._clock())


class UsesAllOfTheLease(Poller):
    """Has no margin for clocks of other rates."""

    def _renew(self, sent: int) -> None:
        self._words.raise_to(Word.FRESH_UNTIL, sent + self._usable * 5 // 4)


class RenewsAnyway(Poller):
    """Renews the lease in the middle of a long log."""

    def _reaches_end(self, rows: Sequence[Invalidation]) -> bool:
        self._renew(self.sent)
        return super()._reaches_end(rows)

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        self.sent = self._clock()
        return super()._continues(rows, applied)


class ConfirmsUnderAnyId(Poller):
    """Confirms under the id that the box has by then."""

    def _confirm(self, box_id: int, last: Applied) -> bool:
        return super()._confirm(self._words.value(Word.BOX), last)

    def _is_registered_as(self, box_id: int) -> bool:
        return True


class ConfirmsAnyRow(Store):
    """Confirms a number, whether or not the log still has that row."""

    def confirm(self, box_id: str, number: int, nonce: int) -> bool:
        known = {row.number: row.nonce for row in self._database.committed.invalidations}
        if number not in known:
            return super().confirm(box_id, 0, 0) and self._force(box_id, number)
        return super().confirm(box_id, number, known[number])

    def _force(self, box_id: str, number: int) -> bool:
        def transaction(state: object) -> bool:
            box, seen_at = state.boxes[box_id]  # type: ignore[attr-defined]
            confirmed = replace(box, confirmed=max(number, box.confirmed))
            state.boxes[box_id] = (confirmed, seen_at)  # type: ignore[attr-defined]
            return True

        return self._database.change(transaction)


class KeepsCached(Registration):
    """Keeps what was cached under the former id."""

    def _forget_cached(self) -> None:
        pass


class ForgetsTooEarly(Registration):
    """Forgets what was cached before it reads the end of the log."""

    def steps(self, former: int) -> Iterator[None]:
        super()._forget_cached()
        yield
        yield from super().steps(former)

    def _forget_cached(self) -> None:
        pass


class ConfirmsWhenRegistering(Registration):
    """Confirms the end of the log before it forgets what was cached."""

    def _confirmed_by(self, row: Invalidation | None) -> int:
        return 0 if row is None else row.number


class WaitsForNobody(Settling):
    """Answers without waiting."""

    def _live(self) -> list[Listed]:
        return []


class ListsTooEarly(Settling):
    """Waits for the boxes that were live before the commit."""

    listed: list[Listed] | None = None

    def before_commit(self) -> None:
        self.listed = super()._live()

    def _live(self) -> list[Listed]:
        return super()._live() if self.listed is None else self.listed


class WaitsForTheShortest(Settling):
    """Waits only for its own lease."""

    def _longest(self, leases_ms: Sequence[int]) -> int:
        return min(leases_ms, default=0) * MILLISECOND


class AnswersWhatIsMade(Settling):
    """Answers at once if the change was already made."""

    def steps(self, publication: Publication, *, found_made: bool = False) -> Iterator[float]:
        return iter(()) if found_made else super().steps(publication)


# ---- What the boxes do then


def begin(world: World) -> tuple[Box, Box, Box]:
    """All boxes have a lease, and have read both keys."""
    first, second, third = world.boxes
    world.change(second, ONE, waits=False)
    for box in world.boxes:
        box.catch_up()
    for change in world.changes:
        while world.step_change(change):
            world.advance(1)
    for box in world.boxes:
        for key in KEYS:
            box.request(key)
    return first, second, third


def poll_until(box: Box, steps: int) -> None:
    """One worker polls, and is stopped after so many steps."""
    box.begin_poll()
    for _ in range(steps):
        assert box.step_poll()


def finish(world: World, change: Change, milliseconds: int = 50) -> None:
    """A change waits until it is answered."""
    while world.step_change(change):
        world.advance(milliseconds)
    assert change.is_answered


READ, APPLIED, CONFIRMED = 3, 4, 5
# In a log that was rewound.
REGISTERED = 5


def rewound_and_continued(world: World) -> None:
    """The log loses a row, and gets another one with the same number."""
    first, second, third = begin(world)
    third.stop()
    world.keep_state()
    lost = world.begin_change(second, TWO)
    assert lost is not None
    world.commit(lost)
    for box in (first, second):
        box.catch_up()
        box.request(ONE)
    world.rewind(2)
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    first.poll()
    first.poll()
    finish(world, change)
    first.request(ONE)


def rewound_while_polling(world: World) -> None:
    """A worker has read a row that the log loses, and confirms it afterwards."""
    first, second, third = begin(world)
    third.stop()
    world.keep_state()
    lost = world.begin_change(second, TWO)
    assert lost is not None
    world.commit(lost)
    poll_until(first, APPLIED)
    world.rewind(2)
    first.step_poll()
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    finish(world, change)
    first.request(ONE)


def rewound_and_registered_anew(world: World) -> None:
    """The same, and another worker has registered the box anew meanwhile."""
    first, second, third = begin(world)
    third.stop()
    world.keep_state()
    for _ in range(2):
        lost = world.begin_change(second, TWO)
        assert lost is not None
        world.commit(lost)
    poll_until(first, APPLIED)
    first.catch_up()
    world.rewind(3)
    first.catch_up()
    first.request(ONE)
    while first.polls:
        first.step_poll()
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    finish(world, change)
    first.request(ONE)


def rewound_while_registering(world: World) -> None:
    """A worker with a lease is stopped while it registers the box anew, after a change."""
    first, second, third = begin(world)
    third.stop()
    world.keep_state()
    lost = world.begin_change(second, TWO)
    assert lost is not None
    world.commit(lost)
    for box in (first, second):
        box.catch_up()
        box.request(ONE)
    world.rewind(2)
    change = world.begin_change(second, ONE)
    assert change is not None
    world.commit(change)
    poll_until(first, REGISTERED)
    second.catch_up()
    for _ in range(5):
        world.step_change(change)
    first.request(ONE)
    while first.polls:
        first.step_poll()
    first.catch_up()
    finish(world, change)
    first.request(ONE)


def stopped_after_confirming(world: World) -> None:
    """A worker is stopped after it has confirmed a change."""
    first, second, third = begin(world)
    change = world.change(second, ONE, waits=False)
    poll_until(first, CONFIRMED)
    second.catch_up()
    third.catch_up()
    finish(world, change)
    first.request(ONE)


def declared_dead(world: World) -> None:
    """A box is cut off until it is declared dead, comes back, and another change is made."""
    first, second, third = begin(world)
    third.stop()
    first.link.is_cut = True
    world.change(second, TWO)
    first.link.is_cut = False
    # A worker that has read the log before it confirms, or has confirmed in vain.
    first.begin_poll()
    first.begin_request(ONE)
    first.end_request()
    for _ in range(9):
        if first.polls and not first.shared.has_lease():
            first.step_poll()
    world.change(second, ONE)
    first.request(ONE)


def came_back(world: World) -> None:
    """A box was declared dead while it polled, and registers anew: it skips the change."""
    first, second, third = begin(world)
    third.stop()
    poll_until(first, READ)
    world.change(second, ONE)
    while first.polls:
        first.step_poll()
    first.catch_up()
    first.request(ONE)


def slow_to_register(world: World) -> None:
    """A change is made while a box registers, which has read the former value."""
    first, second, third = begin(world)
    third.stop()
    first.link.is_cut = True
    world.change(second, TWO)
    first.link.is_cut = False
    first.begin_poll()
    while first.polls and first.generation(ONE) == first.cache[ONE].ticket:
        before = first.shared.words.value(Word.BOX)
        first.step_poll()
        assert before
    first.request(ONE)
    world.change(second, ONE)
    while first.polls:
        first.step_poll()
    first.catch_up()
    first.request(ONE)


def slow_to_confirm(world: World) -> None:
    """A worker is stopped between its SELECT and its confirmation."""
    first, second, third = begin(world)
    third.stop()
    poll_until(first, READ)
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    world.advance(LEASE * 0.8)
    while first.polls:
        first.step_poll()
    finish(world, change)
    first.request(ONE)


def cut_off(world: World) -> None:
    """A box is cut off just after it has renewed its lease; the other one has a fast clock."""
    first, second, third = begin(world)
    third.stop()
    first.catch_up()
    first.link.is_cut = True
    change = world.change(second, ONE, waits=False)
    finish(world, change, 10)
    first.request(ONE)


def cut_off_from_a_short_lease(world: World) -> None:
    """The same, and the change is made at a box with a shorter lease."""
    first, second, third = begin(world)
    second.stop()
    first.catch_up()
    first.link.is_cut = True
    change = world.change(third, ONE, waits=False)
    finish(world, change, 10)
    first.request(ONE)


def far_behind(world: World) -> None:
    """A box has more to read than one SELECT returns."""
    first, second, third = begin(world)
    third.stop()
    for _ in range(BATCH - 1):
        world.change(second, TWO, waits=False)
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    world.advance(LEASE * 0.6)
    first.begin_poll()
    while first.polls:
        first.step_poll()
    finish(world, change)
    first.request(ONE)


def made_by_a_killed_process(world: World) -> None:
    """A process is killed after its commit, and the change is made again elsewhere."""
    first, second, third = begin(world)
    third.stop()
    change = world.change(second, ONE, waits=False)
    second.kill()
    world.retry(change, second)
    (again,) = (one for one in world.changes if one.version == change.version)
    while world.step_change(again):
        world.advance(50)
    first.request(ONE)


def made_while_a_box_starts(world: World) -> None:
    """A box registers between the beginning of a transaction and its commit."""
    first, second, third = begin(world)
    third.stop()
    change = world.begin_change(second, ONE)
    assert change is not None
    third.catch_up()
    third.request(ONE)
    first.link.is_cut = second.link.is_cut = False
    world.commit(change)
    for box in (first, second):
        box.catch_up()
    finish(world, change)
    third.request(ONE)


def committed_out_of_order(world: World) -> None:
    """Of two transactions, the first one to begin is the last one to commit."""
    first, second, third = begin(world)
    third.stop()
    early = world.begin_change(second, ONE)
    assert early is not None
    late = world.begin_change(second, TWO)
    if late is not None:
        world.commit(late)
        first.catch_up()
        first.request(ONE)
    world.commit(early)
    for box in (first, second):
        box.catch_up()
    finish(world, early)
    first.request(ONE)


def suspended(world: World) -> None:
    """A machine is suspended for longer than a lease."""
    first, second, third = begin(world)
    third.stop()
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    world.suspend(first, LEASE + 500)
    finish(world, change)
    first.request(ONE)


def stopping(world: World) -> None:
    """A box stops while a change is made."""
    first, second, third = begin(world)
    third.stop()
    first.stop()
    change = world.change(second, ONE, waits=False)
    second.catch_up()
    finish(world, change)
    first.request(ONE)


@dataclass(frozen=True)
class Omission:
    """A protocol without one step, and what the boxes do for the omission to show."""

    protocol: Protocol
    scenario: Scenario


OMISSIONS = {
    "compare the last row": Omission(Protocol(poller=NoComparison), rewound_and_continued),
    "compare the nonce": Omission(Protocol(poller=NoNonce), rewound_and_continued),
    "confirm only rows that the log still has": Omission(
        Protocol(store=ConfirmsAnyRow), rewound_while_polling
    ),
    "confirm under the id that was read before": Omission(
        Protocol(poller=ConfirmsUnderAnyId, store=ConfirmsAnyRow), rewound_and_registered_anew
    ),
    "apply before confirming": Omission(Protocol(poller=ConfirmsFirst), stopped_after_confirming),
    "confirm before renewing": Omission(Protocol(poller=RenewsFirst), declared_dead),
    "renew only if the box is live": Omission(Protocol(poller=IgnoresRefusals), declared_dead),
    "renew from the time of sending": Omission(Protocol(poller=RenewsFromNow), slow_to_confirm),
    "use only part of the lease": Omission(Protocol(poller=UsesAllOfTheLease), cut_off),
    "renew only at the end of the log": Omission(Protocol(poller=RenewsAnyway), far_behind),
    "compare the lease at each hit": Omission(Protocol(needs_lease=False), cut_off),
    "count the time of suspension": Omission(Protocol(counts_suspension=False), suspended),
    "forget everything when registering": Omission(Protocol(registration=KeepsCached), came_back),
    "forget after reading the end of the log": Omission(
        Protocol(registration=ForgetsTooEarly), slow_to_register
    ),
    "confirm nothing when registering": Omission(
        Protocol(registration=ConfirmsWhenRegistering), rewound_while_registering
    ),
    "stop serving before saying so": Omission(Protocol(stops_last=False), stopping),
    "wait for the boxes": Omission(Protocol(settling=WaitsForNobody), cut_off),
    "list the boxes after the commit": Omission(
        Protocol(settling=ListsTooEarly), made_while_a_box_starts
    ),
    "wait for the longest lease": Omission(
        Protocol(settling=WaitsForTheShortest), cut_off_from_a_short_lease
    ),
    "wait for what is already made": Omission(
        Protocol(settling=AnswersWhatIsMade), made_by_a_killed_process
    ),
    "number changes in the order of commits": Omission(
        Protocol(takes_turns=False), committed_out_of_order
    ),
}


@pytest.mark.parametrize("name", OMISSIONS)
def test_each_step_is_needed(name: str) -> None:
    omission = OMISSIONS[name]
    complete = World()
    omission.scenario(complete)
    assert complete.served
    with pytest.raises(Stale):
        omission.scenario(World(omission.protocol))


# Those that random steps lead to, soon or later. The table has the shortest way to each.
FOUND_SOON = ("compare the lease at each hit", "wait for the boxes")
FOUND_LATER = (
    "apply before confirming",
    "compare the last row",
    "confirm before renewing",
    "forget everything when registering",
    "renew only if the box is live",
    "wait for the longest lease",
)


@pytest.mark.long
def test_the_state_machine_finds_omissions(long: bool) -> None:
    search = settings(
        bounds(20_000 if long else 1_000, 80), derandomize=True, phases=[Phase.generate]
    )
    for name in (*FOUND_SOON, *FOUND_LATER) if long else FOUND_SOON:
        incomplete = type("Incomplete", (Machine,), {"protocol": OMISSIONS[name].protocol})
        with pytest.raises(Stale):
            run_state_machine_as_test(incomplete, settings=search)
