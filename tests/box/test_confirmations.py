"""Waiting for the confirmations of other boxes, and its limits."""

from __future__ import annotations

import logging

import pytest

from latchkey.box.confirmations import Confirmations
from latchkey.credentials.publishing import Publication
from latchkey.errors import ChangesBusy, StoreError
from latchkey.store import places as places_module
from latchkey.store.places import ChangePlaces
from tests.support.box.world import KEYS, LEASES_MS, RATES, World

ONE = KEYS[0]
LEASE = LEASES_MS[0]


def two_boxes() -> World:
    """A world in which two boxes have a lease, and the third one has none."""
    world = World()
    world.change(world.boxes[0], ONE, waits=False)
    for box in world.boxes[:2]:
        box.catch_up()
    return world


def test_a_change_is_answered_when_all_boxes_have_confirmed_it() -> None:
    world = two_boxes()
    first, second = world.boxes[:2]
    change = world.change(first, ONE, waits=False)
    first.catch_up()
    assert world.step_change(change)
    second.catch_up()
    assert not world.step_change(change)
    assert change.is_answered
    assert len(world.ids()) == 2


def test_a_box_that_is_cut_off_delays_one_change_for_a_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = two_boxes()
    first, second = world.boxes[:2]
    second.link.is_cut = True
    began = world.now
    change = world.change(first, ONE, waits=False)
    first.catch_up()
    with caplog.at_level(logging.WARNING, "latchkey"):
        while world.step_change(change):
            world.advance(10)
    assert change.is_answered
    waited = (world.now - began) * RATES[0] // 1_000 // 1_000_000
    assert LEASE <= waited <= LEASE + 10
    assert "1 box did not confirm" in caplog.text
    assert len(world.ids()) == 1
    # It delays no further one.
    change = world.change(first, ONE, waits=False)
    first.catch_up()
    assert not world.step_change(change)
    # It comes back under a new id.
    second.link.is_cut = False
    second.catch_up()
    assert len(world.ids()) == 2


def test_a_stopped_box_delays_no_change() -> None:
    world = two_boxes()
    first, second = world.boxes[:2]
    change = world.change(first, ONE, waits=False)
    first.catch_up()
    second.stop()
    assert not world.step_change(change)
    assert change.is_answered


def test_pauses_grow_up_to_a_limit() -> None:
    world = two_boxes()
    change = world.change(world.boxes[0], ONE, waits=False)
    assert change.waiting is not None
    pauses = [next(change.waiting) for _ in range(20)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.005
    assert pauses[-1] == pauses[-2] == 0.05


def test_a_database_that_cannot_list_the_boxes_is_an_error() -> None:
    world = two_boxes()
    first = world.boxes[0]
    confirmations = first.settling()
    first.link.is_cut = True
    with pytest.raises(StoreError):
        confirmations.settle(Publication([ONE], [1]))


def test_the_database_may_fail_for_a_moment_while_a_change_waits() -> None:
    world = two_boxes()
    first, second = world.boxes[:2]
    change = world.change(first, ONE, waits=False)
    first.catch_up()
    first.link.is_cut = True
    for _ in range(5):
        assert world.step_change(change)
    first.link.is_cut = False
    second.catch_up()
    assert not world.step_change(change)
    assert change.is_answered


def test_a_database_that_fails_until_the_lease_has_passed_is_an_error() -> None:
    world = two_boxes()
    first = world.boxes[0]
    change = world.change(first, ONE, waits=False)
    first.link.is_cut = True
    while world.step_change(change):
        world.advance(500)
    assert not change.is_answered
    # The change is found made, and waits again.
    first.link.is_cut = False
    world.retry(change, first)
    again = world.changes[-1]
    assert world.step_change(again)
    for box in world.boxes[:2]:
        box.catch_up()
    assert not world.step_change(again)


def test_nothing_is_waited_for_without_lookup_keys() -> None:
    world = two_boxes()
    slept: list[float] = []
    places = ChangePlaces(None)
    confirmations = Confirmations(world.boxes[0].boxes, places, world.boxes[0].clock, slept.append)
    world.boxes[0].link.is_cut = True
    confirmations.settle(Publication())
    assert slept == []


def test_waiting_threads_occupy_places(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_boxes()
    first = world.boxes[0]
    places = ChangePlaces(1)
    busy: list[type[Exception]] = []

    def sleep(seconds: float) -> None:
        """While a change waits, another one is refused; then the box confirms."""
        stalled = places_module.STALLED_AFTER
        monkeypatch.setattr(places_module, "STALLED_AFTER", 0)
        for attempt in (places.place(), places.settling(is_new=True)):
            with pytest.raises(ChangesBusy), attempt:
                pass
            busy.append(ChangesBusy)
        monkeypatch.setattr(places_module, "STALLED_AFTER", stalled)
        for box in world.boxes[:2]:
            box.catch_up()

    with places.place(until_settled=True):
        change = world.begin_change(first, ONE)
        assert change is not None
        world.commit(change)
    confirmations = Confirmations(first.boxes, places, first.clock, sleep)
    confirmations.settle(Publication([ONE], [change.number]))
    assert busy == [ChangesBusy, ChangesBusy]
    with places.place():
        pass
