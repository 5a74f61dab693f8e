"""Polls of several workers: their turns, the words that they share, and new registrations."""

from __future__ import annotations

import pytest

from latchkey.box.leases import Applied, box_name, usable
from latchkey.box.poller import INTERVAL, Poller
from latchkey.box.registration import Identity, Registration
from latchkey.box.shared import SharedState, Word
from tests.support.box.world import KEYS, LEASES_MS, Box, World

ONE, TWO = KEYS


@pytest.fixture
def world() -> World:
    world = World()
    world.change(world.boxes[1], ONE, waits=False)
    world.boxes[0].catch_up()
    return world


@pytest.fixture
def box(world: World) -> Box:
    return world.boxes[0]


def due(box: Box) -> int:
    return box.shared.words.value(Word.POLL_DUE)


# ---- Turns


def test_one_worker_polls_in_each_interval(world: World, box: Box) -> None:
    workers = [box.poller, box.other_worker(LEASES_MS[0])]
    for _ in range(3):
        turns = [one.takes_turn(due(box), woken=False) for one in workers]
        assert turns == [True, False]
        world.advance(199)
        assert not any(one.takes_turn(due(box), woken=False) for one in workers)
        world.advance(1)
        workers.reverse()


def test_a_worker_that_dies_in_its_turn_costs_one_interval(world: World, box: Box) -> None:
    assert box.poller.takes_turn(due(box), woken=False)
    world.advance(200)
    assert box.other_worker(LEASES_MS[0]).takes_turn(due(box), woken=False)


def test_a_notification_causes_one_poll(world: World, box: Box) -> None:
    """Both workers are woken by it, and the faster one polls."""
    workers = [box.poller, box.other_worker(LEASES_MS[0])]
    workers[0].takes_turn(due(box), woken=False)
    seen = due(box)
    world.advance(1)
    assert [one.takes_turn(seen, woken=True) for one in workers] == [True, False]
    # The next notification wakes both again.
    seen = due(box)
    world.advance(1)
    workers.reverse()
    assert [one.takes_turn(seen, woken=True) for one in workers] == [True, False]
    world.advance(199)
    assert not workers[0].takes_turn(due(box), woken=False)


def test_a_notification_is_not_lost_to_a_poll_that_was_due_before(world: World, box: Box) -> None:
    waiting, polling = box.poller, box.other_worker(LEASES_MS[0])
    seen = due(box)
    assert polling.takes_turn(seen, woken=False)
    assert waiting.takes_turn(seen, woken=True)


def test_a_damaged_time_postpones_no_poll(box: Box) -> None:
    words = box.shared.words
    words.raise_to(Word.POLL_DUE, box.clock() + 10 * INTERVAL)
    assert box.poller.takes_turn(due(box), woken=False)


# ---- The lease


def test_a_poll_renews_the_lease_from_when_it_was_sent(world: World, box: Box) -> None:
    box.begin_poll()
    box.step_poll()
    sent = box.clock()
    while box.step_poll():
        world.advance(10)
    assert box.shared.words.value(Word.FRESH_UNTIL) == sent + usable(LEASES_MS[0])
    assert usable(5_000) == 4_000_000_000


def test_a_box_registers_before_it_has_a_lease(world: World) -> None:
    box = world.boxes[2]
    box.poll()
    assert box.shared.words.value(Word.BOX)
    assert len(world.ids()) == 2
    assert not box.shared.has_lease()
    box.poll()
    assert box.shared.has_lease()


def test_a_box_without_changes_has_a_lease() -> None:
    world = World()
    box = world.boxes[0]
    box.catch_up()
    assert box.shared.has_lease()
    # The first change is applied under the same id.
    before = world.ids()
    generation = box.generation(ONE)
    world.change(world.boxes[1], ONE, waits=False)
    box.catch_up()
    assert box.generation(ONE) > generation
    assert world.ids() == before


def test_no_lease_is_longer_than_the_registered_one(world: World, box: Box) -> None:
    """Two services share the memory, such as during a restart with another LATCHKEY_LEASE."""
    longer = box.other_worker(20_000)
    longer.poll()
    assert box.shared.words.value(Word.FRESH_UNTIL) <= box.clock() + usable(LEASES_MS[0])
    longer.run()
    assert box.shared.words.value(Word.FRESH_UNTIL) == box.clock() + usable(20_000)
    assert [one.lease_ms for one in world.boxes[1].boxes.live()] == [20_000]
    # The worker with the shorter lease goes on under the same id.
    before = world.ids()
    box.catch_up()
    assert world.ids() == before


# ---- The words


def test_an_overtaken_worker_does_not_move_the_words_back(world: World, box: Box) -> None:
    """And it renews no lease that a later poll has renewed."""
    box.begin_poll()
    for _ in range(4):
        box.step_poll()
    world.change(world.boxes[1], TWO, waits=False)
    box.catch_up()
    words = box.shared.words
    applied, until = Applied.read(words), words.value(Word.FRESH_UNTIL)
    while box.step_poll():
        pass
    assert Applied.read(words) == applied
    assert words.value(Word.FRESH_UNTIL) == until


def test_torn_words_are_read_again(world: World, box: Box) -> None:
    """One worker has written the number of another row, and not yet its nonce."""
    world.change(world.boxes[1], TWO, waits=False)
    words = box.shared.words
    before = Applied.read(words)
    row = world.boxes[0].boxes.last_row()
    assert row is not None
    words.compare_exchange(Word.APPLIED_NUMBER, before.number, row.number)
    ids = world.ids()
    box.begin_poll()
    for _ in range(3):
        box.step_poll()
    words.compare_exchange(Word.APPLIED_NONCE, before.nonce, row.nonce)
    assert not box.step_poll()
    assert world.ids() == ids
    box.catch_up()
    assert world.ids() == ids


def test_words_that_stay_torn_make_the_box_register_anew(world: World, box: Box) -> None:
    """The worker died in between."""
    ids = world.ids()
    words = box.shared.words
    words.compare_exchange(Word.APPLIED_NONCE, words.value(Word.APPLIED_NONCE), 5)
    box.catch_up()
    assert len(world.ids()) == len(ids)
    assert world.ids() != ids
    assert box.shared.has_lease()


# ---- Registering


def test_workers_that_register_at_once_agree_on_one_id(world: World) -> None:
    box = world.boxes[2]
    for worker in range(2):
        box.begin_poll()
        box.step_poll(worker)
        box.step_poll(worker)
    while box.polls:
        box.step_poll()
    (lost,) = [one for one in box.boxes.registered() if one.stopped_at is not None]
    assert box_name(box.shared.words.value(Word.BOX)) in world.ids() - {lost.id}
    assert len(world.ids()) == 2
    # Nobody waits for the other one.
    assert box.boxes.unconfirmed([lost.id], 99) == set()


def test_registering_anew_learns_the_imported_tokens() -> None:
    world = World()
    shared = SharedState.private(leased=True, boot_clock=world.boxes[0].clock)
    identity = Identity("box", "1", "memory", ("key",), 2, 5_000)
    tokens = [bytes([number]) * 32 for number in range(3)]
    registration = Registration(world.boxes[0].boxes, shared, identity, lambda: tokens)
    Poller(world.boxes[0].boxes, shared, registration, world.boxes[0].clock).run()
    assert shared.has_lease()
    assert all(map(shared.may_be_imported, tokens))
    assert not shared.may_be_imported(b"\7" * 32)


def test_a_replaced_log_is_reported_once(world: World, box: Box) -> None:
    replaced: list[None] = []
    worker = box.other_worker(LEASES_MS[0], lambda: replaced.append(None))
    worker.run()
    assert replaced == []
    words = box.shared.words
    words.compare_exchange(Word.APPLIED_NONCE, words.value(Word.APPLIED_NONCE), 5)
    worker.run()
    worker.run()
    assert replaced == [None]


# ---- The number of boxes, among which rates are divided


def test_the_number_of_live_boxes_is_published_if_rates_are_divided(world: World, box: Box) -> None:
    world.boxes[1].catch_up()
    box.other_worker(LEASES_MS[0]).run()
    assert box.shared.words.value(Word.BOXES) == 0
    identity = Identity("box", "1", "memory", ("key",), 2, LEASES_MS[box.number])
    registration = Registration(box.boxes, box.shared, identity)
    dividing = Poller(box.boxes, box.shared, registration, box.clock, divides_rates=True)
    dividing.run()
    assert box.shared.words.value(Word.BOXES) == len(world.ids()) == 2
    (elsewhere,) = world.ids() - {box_name(box.shared.words.value(Word.BOX))}
    box.boxes.stop(elsewhere)
    # A worker counts once in a second.
    dividing.run()
    assert box.shared.words.value(Word.BOXES) == 2
    world.advance(1_000)
    dividing.run()
    assert box.shared.words.value(Word.BOXES) == 1
