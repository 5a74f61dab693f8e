"""Comparing a box that starts with the boxes that run already."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from latchkey.box.neighbours import differences
from latchkey.box.registration import identity_of
from latchkey.config import load_settings
from latchkey.errors import ConfigurationError
from latchkey.store.memory.boxes import MemoryBoxStore
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from latchkey.store.protocols import NewBox, Store

STARTED = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


def store_with(*boxes: NewBox, age: timedelta = timedelta()) -> Store:
    """A store with live boxes that were seen so long ago."""
    database = MemoryDatabase()
    now = datetime.now(UTC)
    for box in boxes:
        MemoryBoxStore(database, lambda: now - age).register(box)
    return open_memory_store(database, None, several_boxes=True)


def box(keys: Iterable[str]) -> NewBox:
    return NewBox("00ff", "east", "0.4.0", "memory", tuple(keys), 2, 5_000, 0, STARTED)


def test_boxes_with_the_same_keys_differ_in_nothing() -> None:
    settings = load_settings({})
    assert differences(store_with(), settings, ["a"]) == []
    assert differences(store_with(box("abc")), settings, ["a", "b", "c"]) == []


def test_another_key_for_new_keys_is_warned_about() -> None:
    """Both boxes accept the keys of each other, but not the forms of the console."""
    (line,) = differences(store_with(box("abc")), load_settings({}), ["b", "a", "c"])
    assert "box east (00ff, started 2026-01-15 10:30:00 UTC)" in line
    assert "first line" in line


def test_a_database_of_one_box_has_no_others() -> None:
    alone = open_memory_store(MemoryDatabase(), None)
    assert differences(alone, load_settings({}), ["a"]) == []


def test_other_keys_are_warned_about() -> None:
    (line,) = differences(store_with(box("abc")), load_settings({}), ["c", "d"])
    assert "box east (00ff, started 2026-01-15 10:30:00 UTC)" in line
    assert "1 key only here, 2 keys only there" in line


def test_boxes_without_a_common_key_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="other derivation keys"):
        differences(store_with(box("ab")), load_settings({}), ["c"])


def test_a_box_that_was_killed_is_no_obstacle() -> None:
    killed = store_with(box("ab"), age=timedelta(seconds=11))
    assert differences(killed, load_settings({}), ["c"]) == []


def test_a_box_describes_itself() -> None:
    settings = load_settings(
        {
            "LATCHKEY_BOX_NAME": "east",
            "LATCHKEY_LEASE": "2.5",
            "LATCHKEY_WORKERS": "3",
        }
    )
    identity = identity_of(settings, ["b", "a"], "0011")
    assert (identity.name, identity.revision, identity.derivation_ids) == (
        "east",
        "0011",
        ("b", "a"),
    )
    assert (identity.lease_ms, identity.workers) == (2_500, 3)
    assert identity_of(load_settings({}), [], "0011").name
