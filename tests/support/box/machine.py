"""The state machine of several boxes: any steps of boxes, workers, changes and requests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.support.box.world import KEYS, LEASES_MS, Box, Change, Protocol, World

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
