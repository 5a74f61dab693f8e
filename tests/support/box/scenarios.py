"""Scenarios of several boxes, each harmless with the complete protocol."""

from __future__ import annotations

from latchkey.box.shared import Word
from tests.support.box.world import BATCH, KEYS, LEASES_MS, Box, Change, World

ONE, TWO = KEYS
LEASE = LEASES_MS[0]


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


def cut_off_with_a_longer_lease(world: World) -> None:
    """A process with a longer lease shares the memory of a box, which is then cut off."""
    first, second, third = begin(world)
    first.stop()
    second.stop()
    longer = third.other_worker(LEASE)
    for _ in range(3):
        longer.poll()
    third.request(ONE)
    third.link.is_cut = True
    change = world.change(second, ONE, waits=False)
    finish(world, change, 10)
    third.request(ONE)


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
