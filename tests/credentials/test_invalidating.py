"""A change invalidates if its transaction may have committed, and not otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta

import pytest

from latchkey.credentials.audit import Action
from latchkey.credentials.importing import Foreign, ImportRefused, import_keys
from latchkey.credentials.models import Change
from latchkey.credentials.service import CredentialService
from latchkey.errors import AlreadyRotated, InsufficientScope, KeyExpired, StoreError
from tests.support.audited import TESTER, open_store
from tests.support.credentials.office import KEYS, NEW, Office, derived

READER = frozenset({"account:read"})


class Changes:
    """Every kind of change, applied to one stored key or to a new one."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.service = office.service
        self.old = office.service.issue(name="old", caller=None, by=TESTER).credential
        office.seen.clear()

    def register(self) -> None:
        self.service.register(*derived(NEW), None, by=TESTER)

    def issue(self) -> None:
        self.service.issue(name="new", caller=None, by=TESTER)

    def revoke(self) -> None:
        self.service.revoke(self.old.api_key, None, by=TESTER)

    def change(self) -> None:
        self.service.change(self.old.api_key, Change(name="other"), None, by=TESTER)

    def rotate(self) -> None:
        self.service.rotate(self.old.api_key, None, by=TESTER)

    def import_one(self) -> None:
        import_foreign(self.office, foreign(7))


KINDS: list[Callable[[Changes], None]] = [
    Changes.register,
    Changes.issue,
    Changes.revoke,
    Changes.change,
    Changes.rotate,
    Changes.import_one,
]


def foreign(number: int) -> Foreign:
    return Foreign(1, "foreign", bytes([number]) * 32, "live", READER, None)


def import_foreign(office: Office, key: Foreign) -> None:
    import_keys(
        *([key], [], "0" * 64, office.store.imported, office.store.accounts, office.publisher()),
        by=TESTER,
    )


def invalidated(office: Office) -> set[str]:
    return {lookup for lookup, _ in office.seen}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_that_cannot_start_invalidates_nothing(
    office: Office, kind: Callable[[Changes], None]
) -> None:
    changes = Changes(office)
    office.store.close()
    aside = office.path.with_name("aside")
    office.path.rename(aside)
    with pytest.raises(StoreError):
        kind(changes)
    aside.rename(office.path)
    assert office.seen == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_that_times_out_on_the_lock_invalidates_nothing(
    office: Office, kind: Callable[[Changes], None]
) -> None:
    changes = Changes(office)
    # The same store with a shorter timeout.
    impatient = open_store(f"sqlite:///{office.path}", write_timeout=0.01)
    office.store.close()
    office.store = impatient
    changes.service = CredentialService(impatient, KEYS, office.publisher())
    with closing(sqlite3.connect(office.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            kind(changes)
    assert office.seen == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_that_is_rolled_back_invalidates_nothing(
    office: Office, kind: Callable[[Changes], None]
) -> None:
    """The last statement of the transaction fails, after the log of invalidations was written."""
    changes = Changes(office)
    execute(
        office,
        "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    with pytest.raises(StoreError):
        kind(changes)
    assert office.seen == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_that_fails_invalidates(office: Office, kind: Callable[[Changes], None]) -> None:
    """COMMIT itself fails, by a constraint that SQLite checks only then."""
    changes = Changes(office)
    execute(
        office,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER fail AFTER INSERT ON audit BEGIN INSERT INTO child VALUES (1); END",
    )
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        kind(changes)
    assert len(invalidated(office)) == (2 if kind is Changes.rotate else 1)


def execute(office: Office, *statements: str) -> None:
    with closing(sqlite3.connect(office.path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_change_that_is_refused_invalidates_nothing(office: Office) -> None:
    """It is refused within the transaction, because of the key's terms."""
    changes = Changes(office)
    reader = office.caller(READER | {"credentials:write"})
    for act in (
        lambda: changes.service.change(changes.old.api_key, Change(name="x"), reader, by=TESTER),
        lambda: changes.service.rotate(changes.old.api_key, reader, by=TESTER),
    ):
        with pytest.raises(InsufficientScope):
            act()
    assert office.seen == []


def test_a_key_of_the_other_mode_is_not_invalidated(office: Office) -> None:
    changes = Changes(office)
    changes.revoke()
    office.seen.clear()
    with suppress(Exception):
        changes.service.revoke(changes.old.api_key, office.caller(mode="test"), by=TESTER)
    assert office.seen == []


def test_a_rotation_that_was_made_before_invalidates(office: Office) -> None:
    changes = Changes(office)
    changes.rotate()
    office.seen.clear()
    with pytest.raises(AlreadyRotated):
        changes.rotate()
    assert invalidated(office) == {changes.old.lookup}


def test_a_rotation_without_overlap_that_was_made_before_invalidates(office: Office) -> None:
    """A worker that missed the first invalidation still has the old expiry."""
    changes = Changes(office)
    changes.service.rotate(changes.old.api_key, None, timedelta(0), by=TESTER)
    office.seen.clear()
    with pytest.raises(KeyExpired):
        changes.rotate()
    assert invalidated(office) == {changes.old.lookup}


def test_an_import_that_was_made_before_invalidates(office: Office) -> None:
    import_foreign(office, foreign(9))
    office.seen.clear()
    with pytest.raises(ImportRefused):
        import_foreign(office, foreign(9))
    assert invalidated(office) == {foreign(9).token_hash.hex()}


def test_every_action_on_keys_is_among_the_kinds() -> None:
    tried = {"key.register", "key.issue", "key.revoke", "key.change", "key.rotate", "key.import"}
    assert {action.value for action in Action if action.value.startswith("key.")} == tried
