"""Changes of stored credentials: new terms, rotation, and the log of what has changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from latchkey.credentials.models import Change, Credential, NewCredential, Rotation
from latchkey.errors import DuplicateApiKey, InvalidField, StoreError
from latchkey.store import Store
from tests.support.audited import new_trail
from tests.support.faults.service_processes import other_process
from tests.support.store.new_credentials import NOW, NewStore, new_credential

LATER = NOW + timedelta(hours=1)


def logged(store: Store, after: int = 0) -> list[str]:
    """The lookup keys in the log, the oldest first."""
    return [row.lookup for row in store.invalidations.after(after)]


# ---- New terms


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (Change(), {}),
        (Change(name="new"), {"name": "new"}),
        (
            Change(scopes=frozenset({"account:read", "account:write"})),
            {"scopes": frozenset({"account:read", "account:write"})},
        ),
        (Change(sets_expiry=True, expires_at=LATER), {"expires_at": LATER}),
        (Change(sets_expiry=True), {"expires_at": None}),
        (Change(expires_at=LATER), {}),
    ],
)
def test_what_is_given_changes_and_nothing_else(
    store: Store, change: Change, fields: dict[str, object]
) -> None:
    added = store.add(new_credential(expires_at=NOW + timedelta(days=1)), new_trail())
    other = store.add(new_credential(), new_trail())
    changed = store.change(added.api_key, "live", NOW, lambda _: change, new_trail())
    assert changed == store.find(added.api_key)
    for name in Credential.__dataclass_fields__:
        assert getattr(changed, name) == fields.get(name, getattr(added, name))
    assert store.find(other.api_key) == other


def test_the_decision_sees_the_credential_as_it_is(store: Store) -> None:
    added = store.add(new_credential(), new_trail())
    seen: list[Credential] = []

    def decide(found: Credential) -> Change:
        seen.append(found)
        return Change(name=f"{found.name}+")

    for _ in range(2):
        store.change(added.api_key, None, NOW, decide, new_trail())
    assert [found.name for found in seen] == ["test", "test+"]


def test_a_refused_change_leaves_everything_as_it_was(store: Store) -> None:
    added = store.add(new_credential(), new_trail())
    before = logged(store)

    def refuse(*found: object) -> Change:
        raise InvalidField("name", "is not wanted")

    with pytest.raises(InvalidField):
        store.change(added.api_key, None, NOW, refuse, new_trail())
    with pytest.raises(InvalidField):
        store.rotate(added.api_key, None, NOW, refuse, new_trail())  # type: ignore[arg-type]
    assert store.find(added.api_key) == added
    assert logged(store) == before
    # The lock is not left behind either.
    assert store.revoke(added.api_key, None, NOW, new_trail())


def test_what_cannot_be_changed(store: Store) -> None:
    revoked, other_mode = (
        store.add(new_credential(), new_trail()),
        store.add(new_credential(mode="test"), new_trail()),
    )
    store.revoke(revoked.api_key, None, NOW, new_trail())

    def never(*found: object) -> Change:
        raise AssertionError("there is nothing to decide about")

    for api_key in (revoked.api_key, other_mode.api_key, new_credential().api_key):
        assert store.change(api_key, "live", NOW, never, new_trail()) is None
        assert store.rotate(api_key, "live", NOW, never, new_trail()) is None  # type: ignore[arg-type]


# ---- Rotation


def rotation(successor: NewCredential, until: object = LATER) -> object:
    return lambda found, former: Rotation(successor, until)  # type: ignore[arg-type]


def test_a_rotation_is_two_rows_at_once(store: Store) -> None:
    end = NOW + timedelta(days=9)
    old, new = (
        store.add(new_credential(expires_at=end), new_trail()),
        new_credential(name="successor"),
    )
    made = store.rotate(old.api_key, "live", NOW, rotation(new), new_trail())  # type: ignore[arg-type]
    assert made is not None
    assert made == store.find(new.api_key)
    ended = store.find(old.api_key)
    assert ended is not None
    assert (ended.rotated_to, ended.expires_at, ended.original_expires_at) == (
        new.api_key,
        LATER,
        end,
    )
    assert (made.rotated_to, made.original_expires_at) == (None, None)


def test_the_original_end_is_that_before_the_first_rotation(store: Store) -> None:
    old = store.add(new_credential(expires_at=None), new_trail())
    formers: list[Credential | None] = []
    made: list[NewCredential] = []

    def decide(found: Credential, former: Credential | None) -> Rotation:
        formers.append(former)
        made.append(new_credential())
        return Rotation(made[-1], LATER)

    for _ in range(3):
        store.rotate(old.api_key, None, NOW, decide, new_trail())
    assert [former and former.api_key for former in formers] == [
        None,
        made[0].api_key,
        made[1].api_key,
    ]
    ended = store.find(old.api_key)
    assert ended is not None
    assert (ended.rotated_to, ended.original_expires_at) == (made[2].api_key, None)


def test_a_rotation_whose_successor_is_taken_changes_nothing(store: Store) -> None:
    old, taken = store.add(new_credential(), new_trail()), store.add(new_credential(), new_trail())
    with pytest.raises(DuplicateApiKey):
        store.rotate(
            old.api_key,
            None,
            NOW,
            rotation(new_credential(api_key=taken.api_key)),  # type: ignore[arg-type]
            new_trail(),
        )
    assert store.find(old.api_key) == old


# ---- The log of invalidations


def test_each_change_is_logged_in_its_order(store: Store) -> None:
    one, other, successor = (new_credential() for _ in range(3))
    store.add(one, new_trail())
    store.add(other, new_trail())
    store.revoke(one.api_key, None, NOW, new_trail())
    store.change(other.api_key, None, NOW, lambda _: Change(name="x"), new_trail())
    store.change(other.api_key, None, NOW, lambda _: Change(), new_trail())
    store.rotate(other.api_key, None, NOW, rotation(successor), new_trail())  # type: ignore[arg-type]
    assert logged(store) == [
        *(one.lookup, other.lookup, one.lookup, other.lookup, other.lookup),
        *(successor.lookup, other.lookup),
    ]
    numbers = [row.number for row in store.invalidations.after(0)]
    assert numbers == list(range(1, 8))
    assert logged(store, after=5) == [successor.lookup, other.lookup]
    assert logged(store, after=7) == []


def test_what_changes_nothing_is_not_logged(store: Store) -> None:
    added = store.add(new_credential(), new_trail())
    store.revoke(added.api_key, None, NOW, new_trail())
    before = logged(store)
    store.revoke(added.api_key, None, NOW, new_trail())
    with pytest.raises(DuplicateApiKey):
        store.add(new_credential(api_key=added.api_key), new_trail())
    assert logged(store) == before


def test_a_change_that_is_not_committed_is_not_logged(new_store: NewStore, database: Path) -> None:
    store = new_store(write_timeout=0.05)
    added = store.add(new_credential(), new_trail())
    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    with other_process(hold, str(database)):
        for change in (
            lambda: store.revoke(added.api_key, None, NOW, new_trail()),
            lambda: store.change(added.api_key, None, NOW, lambda _: Change(name="x"), new_trail()),
            lambda: store.rotate(added.api_key, None, NOW, rotation(new_credential()), new_trail()),  # type: ignore[arg-type]
        ):
            with pytest.raises(StoreError):
                change()
    assert logged(store) == [added.lookup]
    assert store.find(added.api_key) == added


def test_a_trail_says_which_rows_a_change_made(store: Store) -> None:
    trails = [new_trail() for _ in range(5)]
    added = store.add(new_credential(), trails[0])
    store.change(added.api_key, None, NOW, lambda _: Change(), trails[1])
    new = new_credential()
    store.rotate(added.api_key, None, NOW, rotation(new), trails[2])  # type: ignore[arg-type]
    store.revoke(added.api_key, None, NOW, trails[3])
    store.revoke(added.api_key, None, NOW, trails[4])
    assert [trail.invalidations for trail in trails] == [[1], [2], [3, 4], [5], []]
    numbers = [trail.head.number for trail in trails if trail.head is not None]
    assert numbers == [1, 2, 3, 4]
    # Also of one that was found revoked: whoever did that may not have got to say so.
    assert (trails[4].lookups, trails[4].made_before) == ([], [added.lookup])
    assert set(trails[2].lookups) == {added.lookup, new.lookup}


def test_old_rows_are_deleted_but_for_the_last(store: Store, database: Path) -> None:
    """The log never goes back: the last number stays, and numbers are not given again."""
    keys = [new_credential(created_at=NOW + timedelta(hours=hour)) for hour in range(5)]
    for new in keys:
        store.add(new, new_trail())
    assert store.invalidations.prune(NOW + timedelta(hours=2), below=2) == 1
    assert store.invalidations.prune(NOW + timedelta(hours=2), below=9) == 1
    assert logged(store) == [new.lookup for new in keys[2:]]
    assert store.invalidations.prune(NOW + timedelta(days=9), below=9) == 2
    assert [(row.number, row.lookup) for row in store.invalidations.after(0)] == [
        (5, keys[4].lookup)
    ]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM invalidation")
    store.add(new_credential(), new_trail())
    assert [row.number for row in store.invalidations.after(0)] == [6]


def test_a_long_log_is_read_in_parts(store: Store, database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO invalidation (lookup, at) VALUES (?, 0)",
            [(f"live_{number}",) for number in range(10_500)],
        )
        connection.execute("COMMIT")
    first = store.invalidations.after(0)
    assert len(first) == 10_000
    assert [row.number for row in store.invalidations.after(first[-1].number)] == list(
        range(10_001, 10_501)
    )


def test_the_log_is_read_along_its_numbers(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT id, lookup FROM invalidation WHERE id > 9 ORDER BY id"
        ).fetchall()
    assert [row[3] for row in plan] == ["SEARCH invalidation USING INTEGER PRIMARY KEY (rowid>?)"]
