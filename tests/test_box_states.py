"""The states of boxes, as `latchkey boxes`, the console and the metrics show them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import NamedTuple

import pytest

from latchkey.box.box_states import BoxState, states_of
from latchkey.box.shared import SharedState, Word
from latchkey.store.memory import boxes as memory_boxes
from latchkey.store.memory.boxes import MemoryBoxStore
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from latchkey.store.protocols.boxes import NewBox
from tests.support.audited import add, new_seal, revoke
from tests.support.store.new_credentials import new_credential

STARTED = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


class Boxes(NamedTuple):
    """A database in memory with a log of three changes; its clock is ``clock[0]``."""

    store: MemoryBoxStore
    clock: list[datetime]
    rows: list[int]

    def register(self, name: str, confirmed: int) -> None:
        self.store.register(new_box(name, confirmed))

    def states(self) -> list[BoxState]:
        return states_of(self.store)


def new_box(name: str, confirmed: int) -> NewBox:
    return NewBox(name, name, "1.0", "0011", ("id",), 2, 5_000, confirmed, STARTED)


@pytest.fixture
def boxes(tmp_path: Path) -> Boxes:
    database = MemoryDatabase()
    seal = new_seal(tmp_path / "latchkey.db")
    store = open_memory_store(database, seal, several_boxes=True)
    for _ in range(3):
        made = add(store, new_credential(created_at=STARTED))
        revoke(store, made.api_key, STARTED)
    clock = [STARTED]
    known = MemoryBoxStore(database, lambda: clock[0])
    return Boxes(known, clock, [row.number for row in known.log_from(0)])


def test_a_box_is_behind_by_the_rows_that_it_has_not_confirmed(boxes: Boxes) -> None:
    boxes.register("behind", boxes.rows[0])
    boxes.register("current", boxes.rows[-1])
    boxes.clock[0] = STARTED + timedelta(seconds=1.5)
    behind, current = boxes.states()
    assert (behind.box.name, behind.behind, behind.lag) == ("behind", len(boxes.rows) - 1, 1.5)
    assert (current.box.name, current.behind, current.lag) == ("current", 0, 0.0)


def test_a_row_that_no_box_has_used_is_left_out(boxes: Boxes) -> None:
    for name in ("box", "other"):
        boxes.store.register(replace(new_box(name, 0), id=f"{name} unused"))
        boxes.store.stop(f"{name} unused")
    boxes.register("box", boxes.rows[0])
    assert [state.box.id for state in boxes.states()] == ["box", "other unused"]


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_of_the_box_that_wrote_a_row_does_not_matter(boxes: Boxes, hours: int) -> None:
    boxes.clock[0] = STARTED + timedelta(hours=hours)
    boxes.register("behind", boxes.rows[0])
    boxes.clock[0] += timedelta(seconds=1.5)
    assert [state.lag for state in boxes.states()] == [1.5]


def test_a_box_is_behind_also_if_another_one_is_behind_by_more_rows_than_are_read(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_boxes, "_MOST_ROWS", 2)
    boxes.register("far", 0)
    boxes.register("near", boxes.rows[-2])
    assert [(state.box.name, state.behind) for state in boxes.states()] == [("far", 2), ("near", 1)]


def test_the_lease_is_used_up_without_a_confirmation(boxes: Boxes) -> None:
    """A box uses four fifths of it, counted from its last confirmation."""
    boxes.register("box", boxes.rows[-1])
    found = []
    for seconds in (0, 1, 4, 60):
        boxes.clock[0] = STARTED + timedelta(seconds=seconds)
        found.append(boxes.states()[0].lease_left)
    assert found == [4.0, 3.0, 0.0, 0.0]


def test_boxes_that_are_not_live_come_last(boxes: Boxes) -> None:
    for name in ("a", "b", "c"):
        boxes.register(name, 0)
    boxes.store.mark_dead(["a"], boxes.rows[-1])
    boxes.store.stop("b")
    states = boxes.states()
    assert [(state.box.name, state.status) for state in states] == [
        ("c", "live"),
        ("a", "cut off"),
        ("b", "stopped"),
    ]
    assert [state.behind for state in states] == [len(boxes.rows), None, None]
    assert [state.json_fields["lag_seconds"] for state in states[1:]] == [None, None]


def test_a_state_in_json_has_times_in_seconds(boxes: Boxes) -> None:
    boxes.register("box", boxes.rows[-1])
    boxes.clock[0] = STARTED + timedelta(seconds=1)
    fields = boxes.states()[0].json_fields
    assert (fields["seen_seconds_ago"], fields["lease_seconds"]) == (1.0, 5.0)
    assert (fields["lease_left_seconds"], fields["stopped_at"]) == (3.0, None)


def test_a_box_alone_has_its_lease_forever() -> None:
    assert SharedState.private().lease_left() == inf
    now = [1_000_000_000]
    leased = SharedState.private(leased=True, boot_clock=lambda: now[0])
    assert (leased.lease_left(), leased.has_lease()) == (0, False)
    leased.words.raise_to(Word.FRESH_UNTIL, 3_500_000_000)
    assert (leased.lease_left(), leased.has_lease()) == (2.5, True)
