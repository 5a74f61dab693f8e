"""Why a box registers anew: each reason is logged once, by the worker that registers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from latchkey.box.leases import box_name
from latchkey.box.shared import Word
from tests.support.box.scenarios import APPLIED, ONE, TWO, begin, poll_until
from tests.support.box.world import LEASES_MS, Box, World


@pytest.fixture
def world() -> World:
    world = World()
    begin(world)
    return world


@pytest.fixture
def replaced() -> list[None]:
    """One entry for each time that the log was found to be another one."""
    return []


@pytest.fixture
def box(world: World, replaced: list[None]) -> Box:
    box = world.boxes[0]
    box.poller = box.other_worker(LEASES_MS[0], lambda: replaced.append(None))
    return box


def cut_off(world: World, box: Box) -> None:
    """A change waits for the box in vain."""
    box.link.is_cut = True
    world.change(world.boxes[1], TWO)
    box.link.is_cut = False
    box.begin_poll()


def forgotten(world: World, box: Box) -> None:
    """The row of the box is deleted."""
    box.begin_poll()
    (box_id,) = world.ids() - {
        box_name(one.shared.words.value(Word.BOX)) for one in world.boxes[1:]
    }
    world.database.change(lambda state: state.boxes.pop(box_id))


def rewound(world: World, box: Box) -> None:
    """A worker has read a row that the log loses."""
    world.keep_state()
    lost = world.begin_change(world.boxes[1], TWO)
    assert lost is not None
    world.commit(lost)
    poll_until(box, APPLIED)
    world.rewind(2)


def registered_with_a_shorter_lease(world: World, box: Box) -> None:
    """A process with a longer lease has started."""
    box.poller = box.other_worker(LEASES_MS[0] + 1)
    box.begin_poll()


REASONS: list[tuple[Callable[[World, Box], None], str, int]] = [
    (cut_off, "marked as cut off, because a change had waited for it", 0),
    (forgotten, "not registered any more", 0),
    (rewound, "the log of invalidations lacks a row", 1),
    (registered_with_a_shorter_lease, "a process with a shorter LATCHKEY_LEASE", 0),
]


@pytest.mark.parametrize(("happens", "text", "replacements"), REASONS)
def test_each_reason_is_logged_once(
    world: World,
    box: Box,
    replaced: list[None],
    happens: Callable[[World, Box], None],
    text: str,
    replacements: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    happens(world, box)
    caplog.clear()
    former = box.shared.words.value(Word.BOX)
    while box.polls:
        box.step_poll()
    assert box.shared.words.value(Word.BOX) != former
    (line,) = [record.getMessage() for record in caplog.records]
    assert text in line
    assert "has invalidated all cached entries and registered anew" in line
    assert len(replaced) == replacements
    box.catch_up()
    assert len(caplog.records) == 1
    assert box.shared.has_lease()


def test_of_several_workers_one_logs_it(
    world: World, box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """All find that the box is not live, at once."""
    cut_off(world, box)
    box.begin_poll()
    caplog.clear()
    while box.polls:
        for index in reversed(range(len(box.polls))):
            box.step_poll(index)
    assert len(caplog.records) == 1
    box.request(ONE)
