"""The boxes that share a database: what they register, confirm and wait for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials.models import Invalidation
from latchkey.credentials.times import utc_now
from latchkey.store.protocols import Box, BoxStore, Confirmation, NewBox, Store
from tests.support.audited import add, open_store
from tests.support.database import new_database
from tests.support.store.new_credentials import NOW, NewStore, new_credential
from tests.support.store.tallies import OTHER, SEGMENT, tally, total

LEASE_MS = 5_000


@pytest.fixture
def store(new_shared_store: NewStore) -> Store:
    return new_shared_store()


@pytest.fixture
def boxes(store: Store) -> BoxStore:
    assert store.boxes is not None
    return store.boxes


def new_box(box_id: str, **fields: Any) -> NewBox:
    return replace(
        NewBox(box_id, "east", "0.4.0", "0011", ("0123456789abcdef",), 2, LEASE_MS, 0, NOW),
        **fields,
    )


def logged(store: Store, changes: int) -> list[Invalidation]:
    """The rows of so many changes."""
    for _ in range(changes):
        add(store, new_credential())
    return store.invalidations.after(0)


def by_id(boxes: BoxStore) -> dict[str, Box]:
    return {box.id: box for box in boxes.registered()}


def test_the_revision_has_a_name(boxes: BoxStore) -> None:
    assert 0 < len(boxes.revision) <= 16


def test_a_registered_box_is_live(boxes: BoxStore) -> None:
    assert boxes.live() == boxes.registered() == []
    boxes.register(new_box("a", confirmed=7, derivation_ids=("one", "two")))
    (box,) = boxes.live()
    assert 0 <= box.unseen_ms < 600_000
    assert box == Box(
        "a", "east", "0.4.0", "0011", ("one", "two"), 2, LEASE_MS, 7, True, NOW, None, box.unseen_ms
    )
    found = boxes.registered()
    assert found == [replace(box, unseen_ms=found[0].unseen_ms)]


def test_a_box_that_registers_anew_replaces_itself(boxes: BoxStore) -> None:
    boxes.register(new_box("a"))
    boxes.register(new_box("other", name="west"))
    boxes.register(new_box("b", confirmed=3), replaces=["a", "missing"])
    assert {box.id for box in boxes.live()} == {"b", "other"}
    assert [box.id for box in boxes.registered()][-1] == "other"
    # It is replaced, but its workers may still serve what it has cached.
    assert by_id(boxes)["a"].stopped_at is None
    assert boxes.unconfirmed(["a"], 1) == {"a"}


def test_confirmations_only_rise(store: Store, boxes: BoxStore) -> None:
    boxes.register(new_box("a"))
    assert boxes.confirm("a", 0, 0, LEASE_MS) is Confirmation.MADE
    rows = logged(store, 3)
    for row, confirmed in ((rows[0], 0), (rows[2], 2), (rows[1], 2)):
        assert boxes.confirm("a", row.number, row.nonce, LEASE_MS) is Confirmation.MADE
        assert boxes.live()[0].confirmed == rows[confirmed].number


def test_only_a_row_of_this_log_can_be_confirmed(store: Store, boxes: BoxStore) -> None:
    boxes.register(new_box("a"))
    first, second = logged(store, 2)
    for number, nonce in (
        (second.number + 1, second.nonce),
        (second.number, first.nonce),
        (first.number, 0),
    ):
        assert boxes.confirm("a", number, nonce, LEASE_MS) is Confirmation.REWOUND
        # It is the first reason of the two.
        assert boxes.confirm("a", number, nonce, LEASE_MS + 1) is Confirmation.REWOUND
    (box,) = boxes.live()
    assert box.confirmed == 0


def test_a_box_that_is_not_live_cannot_confirm(store: Store, boxes: BoxStore) -> None:
    boxes.register(new_box("a"))
    (row,) = logged(store, 1)
    assert boxes.mark_dead(["a"], row.number) == 1
    for number, nonce, lease_ms in (
        (row.number, row.nonce, LEASE_MS),
        (0, 0, LEASE_MS),
        (row.number, row.nonce + 1, LEASE_MS + 1),
    ):
        assert boxes.confirm("a", number, nonce, lease_ms) is Confirmation.CUT_OFF
        assert boxes.confirm("missing", number, nonce, lease_ms) is Confirmation.FORGOTTEN
    assert by_id(boxes)["a"].confirmed == 0
    assert boxes.live() == []


def test_a_database_is_recognised(new_shared_store: NewStore, boxes: BoxStore) -> None:
    other = new_shared_store().boxes
    assert other is not None
    assert boxes.is_same_as(other)


def test_no_longer_lease_than_the_registered_one_can_be_confirmed(
    store: Store, boxes: BoxStore
) -> None:
    boxes.register(new_box("a", lease_ms=5_000))
    (row,) = logged(store, 1)
    for lease_ms in (5_000, 1_000):
        assert boxes.confirm("a", 0, 0, lease_ms) is Confirmation.MADE
        assert boxes.confirm("a", row.number, row.nonce, lease_ms) is Confirmation.MADE
    assert boxes.confirm("a", 0, 0, 5_001) is Confirmation.SHORTER_LEASE
    assert boxes.confirm("a", row.number, row.nonce, 5_001) is Confirmation.SHORTER_LEASE


def test_only_boxes_that_have_confirmed_less_are_marked(boxes: BoxStore) -> None:
    for box_id, confirmed in (("a", 3), ("b", 4), ("c", 5), ("d", 0)):
        boxes.register(new_box(box_id, confirmed=confirmed))
    assert boxes.unconfirmed("abc", 4) == {"a"}
    assert boxes.mark_dead("abc", 4) == 1
    assert {box.id for box in boxes.live()} == {"b", "c", "d"}
    # A box that is dead already is not counted again.
    assert boxes.mark_dead("abc", 4) == 0
    assert boxes.mark_dead([], 99) == 0
    assert boxes.unconfirmed([], 99) == set()


def test_a_stopped_box_has_nothing_to_confirm(boxes: BoxStore) -> None:
    boxes.register(new_box("a"))
    assert boxes.unconfirmed(["a", "missing"], 1) == {"a", "missing"}
    boxes.stop("a")
    boxes.stop("missing")
    assert boxes.unconfirmed(["a", "missing"], 1) == {"missing"}
    stopped = by_id(boxes)["a"]
    assert not stopped.live
    assert stopped.stopped_at is not None
    assert abs(stopped.stopped_at - utc_now()) < timedelta(hours=1)


def test_boxes_are_forgotten_unless_they_are_live(boxes: BoxStore) -> None:
    for box_id in "abc":
        boxes.register(new_box(box_id))
    boxes.stop("a")
    boxes.mark_dead("b", 1)
    assert boxes.forget(utc_now() - timedelta(hours=1)) == 0
    assert boxes.forget(utc_now() + timedelta(hours=1)) == 2
    assert set(by_id(boxes)) == {"c"}


def test_a_segment_is_forgotten_with_its_last_box(store: Store, boxes: BoxStore) -> None:
    """If it returns, no use is counted twice."""
    number = add(store, new_credential()).id
    boxes.register(new_box("a", segment=SEGMENT))
    boxes.register(new_box("b", segment=SEGMENT), replaces=["a"])
    boxes.register(new_box("c", segment=OTHER))
    assert store.usage.flush(SEGMENT, [tally(number, 7)], NOW)
    assert store.usage.flush(OTHER, [tally(number, 30)], NOW)
    assert boxes.forget(utc_now() + timedelta(hours=1)) == 1
    assert store.usage.record(number, SEGMENT).watermark.uses == 7
    boxes.mark_dead("b", 1)
    assert boxes.forget(utc_now() + timedelta(hours=1)) == 1
    assert store.usage.record(number, OTHER).watermark.uses == 30
    for _ in range(2):
        assert not store.usage.flush(SEGMENT, [tally(number, 9)], NOW)
    assert total(store, number) == 37
    store.usage.resume(SEGMENT, [tally(number, 9)])
    # Another process that was slower.
    store.usage.resume(SEGMENT, [tally(number, 8)])
    assert store.usage.flush(SEGMENT, [tally(number, 12)], NOW)
    assert total(store, number) == 40


def test_a_segment_without_uses_leaves_nothing_when_it_is_forgotten(
    store: Store, boxes: BoxStore
) -> None:
    number = add(store, new_credential()).id
    boxes.register(new_box("a", segment=SEGMENT))
    boxes.register(new_box("b"))
    boxes.mark_dead("ab", 1)
    assert boxes.forget(utc_now() + timedelta(hours=1)) == 2
    assert store.usage.flush(SEGMENT, [tally(number, 9)], NOW)
    assert store.usage.flush("", [tally(number, 2)], NOW)
    assert total(store, number) == 11


def test_the_log_is_read_from_a_row_that_is_known(store: Store, boxes: BoxStore) -> None:
    assert boxes.last_row() is None
    assert boxes.log_from(0) == []
    rows = logged(store, 3)
    assert boxes.log_from(0) == rows
    assert boxes.log_from(rows[1].number) == rows[1:]
    assert boxes.log_from(rows[2].number + 1) == []
    assert boxes.last_row() == rows[2]
    assert len({row.nonce for row in rows}) == 3


def test_the_rows_after_several_numbers_are_counted(
    store: Store, boxes: BoxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert boxes.count_after([]) == {}
    assert boxes.count_after([0, 7]) == {0: 0, 7: 0}
    rows = logged(store, 4)
    wanted = [rows[0].number - 1, *(row.number for row in rows)]
    assert boxes.count_after(wanted) == dict(zip(wanted, [4, 3, 2, 1, 0], strict=True))
    assert boxes.count_after([rows[1].number] * 2) == {rows[1].number: 2}
    # No more are counted than a box reads at once.
    monkeypatch.setattr(f"{type(boxes).__module__}._MOST_ROWS", 3)
    assert list(boxes.count_after(wanted).values()) == [3, 3, 2, 1, 0]


def test_rows_that_a_live_box_has_not_passed_are_kept(store: Store, boxes: BoxStore) -> None:
    rows = logged(store, 5)
    later = NOW + timedelta(hours=1)
    boxes.register(new_box("slow", confirmed=rows[1].number))
    boxes.register(new_box("fast", confirmed=rows[4].number))
    assert store.invalidations.prune(later, below=rows[4].number) == 1
    # The row that it has confirmed is the one by which it recognises the log.
    assert store.invalidations.after(0) == rows[1:]
    boxes.mark_dead(["slow"], rows[4].number)
    assert store.invalidations.prune(later, below=rows[3].number) == 2
    assert store.invalidations.after(0) == rows[3:]


def test_another_store_sees_the_same_boxes(
    store: Store, boxes: BoxStore, new_shared_store: NewStore
) -> None:
    other = new_shared_store().boxes
    assert other is not None
    boxes.register(new_box("a"))
    (row,) = logged(store, 1)
    assert other.confirm("a", row.number, row.nonce, LEASE_MS) is Confirmation.MADE
    assert boxes.live()[0].confirmed == row.number


def test_a_database_of_one_box_has_no_boxes(tmp_path: Path) -> None:
    with closing(open_store(new_database(tmp_path / "latchkey.db"))) as store:
        assert store.boxes is None
