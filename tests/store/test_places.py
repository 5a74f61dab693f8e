"""Places for changes: from the wait for the database to the confirmations of other boxes."""

from __future__ import annotations

import time

import pytest

from latchkey.errors import ChangesBusy
from latchkey.store import places as module
from latchkey.store.places import ChangePlaces, places_for


class Clock:
    """Monotonic time that only a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def is_free(places: ChangePlaces) -> bool:
    """Whether a change gets a place at once."""
    try:
        with places.place():
            return True
    except ChangesBusy:
        return False


def test_half_of_the_threads_and_at_least_one_make_changes() -> None:
    assert [places_for(threads) for threads in (1, 2, 3, 8)] == [1, 1, 1, 4]


def test_a_committed_change_keeps_its_place_until_it_is_settled(clock: Clock) -> None:
    places = ChangePlaces(1)
    with places.place(until_settled=True):
        pass
    clock.now += module.STALLED_AFTER
    assert not is_free(places)
    with places.settling():
        clock.now += 5
        assert not is_free(places)
    assert is_free(places)


def test_a_change_that_fails_keeps_no_place(clock: Clock) -> None:
    places = ChangePlaces(1)
    with pytest.raises(ValueError, match="fault"), places.place(until_settled=True):
        raise ValueError("fault")
    assert is_free(places)


def test_a_change_that_is_never_settled_loses_its_place(clock: Clock) -> None:
    places = ChangePlaces(1)
    with places.place(until_settled=True):
        pass
    clock.now += 2 * module.STALLED_AFTER
    assert is_free(places)
    # Its thread was only slow.
    with places.settling():
        clock.now += module.STALLED_AFTER
        assert not is_free(places)
    assert is_free(places)


def test_a_change_that_was_made_earlier_needs_a_place_to_wait(clock: Clock) -> None:
    places = ChangePlaces(1)
    with places.settling(is_new=True):
        clock.now += module.STALLED_AFTER
        with pytest.raises(ChangesBusy), places.settling(is_new=True):
            pass
    assert is_free(places)


def test_without_a_limit_a_place_is_always_free(clock: Clock) -> None:
    places = ChangePlaces(None)
    with places.settling(), places.settling(is_new=True):
        clock.now += 99
        assert is_free(places)
