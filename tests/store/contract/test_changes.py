"""Changes of credentials: new terms, rotation, and what they publish."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from latchkey.credentials.audit import Action
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Change, Credential, NewCredential, Rotation
from latchkey.credentials.publishing import Publication, Refused
from latchkey.errors import CredentialNotFound, DuplicateApiKey, InvalidField
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, change, revoke, rotate
from tests.support.store.new_credentials import NOW, new_credential

LATER = NOW + timedelta(hours=1)


def logged(store: Store, after: int = 0) -> list[str]:
    """The lookup keys in the log, oldest first."""
    return [row.lookup for row in store.invalidations.after(after)]


# ---- New terms


@pytest.mark.parametrize(
    ("terms", "fields"),
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
def test_only_the_given_terms_change(
    store: Store, terms: Change, fields: dict[str, object]
) -> None:
    added = add(store, new_credential(expires_at=NOW + timedelta(days=1)))
    other = add(store, new_credential())
    changed = change(store, added.api_key, NOW, lambda _: terms)
    assert changed == store.find(added.api_key)
    for name in Credential.__dataclass_fields__:
        assert getattr(changed, name) == fields.get(name, getattr(added, name))
    assert store.find(other.api_key) == other


def test_the_decision_gets_the_current_credential(store: Store) -> None:
    added = add(store, new_credential())
    seen: list[Credential] = []

    def decide(found: Credential) -> Change:
        seen.append(found)
        return Change(name=f"{found.name}+")

    for _ in range(2):
        change(store, added.api_key, NOW, decide)
    assert [found.name for found in seen] == ["test", "test+"]


def test_a_refused_change_has_no_effect(store: Store) -> None:
    added = add(store, new_credential())
    before = logged(store)

    def refuse(*found: object) -> Change:
        raise InvalidField("name", "is not wanted")

    with pytest.raises(InvalidField):
        change(store, added.api_key, NOW, refuse)
    with pytest.raises(InvalidField):
        rotate(store, added.api_key, NOW, refuse)  # type: ignore[arg-type]
    assert store.find(added.api_key) == added
    assert logged(store) == before
    # The lock is released, too.
    revoke(store, added.api_key, NOW)


def test_keys_that_cannot_be_changed(store: Store) -> None:
    revoked = add(store, new_credential())
    revoke(store, revoked.api_key, NOW)

    def never(*found: object) -> Change:
        raise AssertionError("there is nothing to decide about")

    for api_key in (revoked.api_key, new_credential().api_key):
        with pytest.raises(CredentialNotFound):
            change(store, api_key, NOW, never)
        with pytest.raises(CredentialNotFound):
            rotate(store, api_key, NOW, never)  # type: ignore[arg-type]


# ---- Rotation


def rotation(successor: NewCredential, until: object = LATER) -> object:
    return lambda found, former: Rotation(successor, until)  # type: ignore[arg-type]


def test_a_rotation_changes_two_rows_atomically(store: Store) -> None:
    end = NOW + timedelta(days=9)
    old, new = (
        add(store, new_credential(expires_at=end)),
        new_credential(name="successor"),
    )
    made = rotate(store, old.api_key, NOW, rotation(new))  # type: ignore[arg-type]
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


def test_the_original_expiry_is_that_before_the_first_rotation(store: Store) -> None:
    old = add(store, new_credential(expires_at=None))
    formers: list[Credential | None] = []
    made: list[NewCredential] = []

    def decide(found: Credential, former: Credential | None) -> Rotation:
        formers.append(former)
        made.append(new_credential())
        return Rotation(made[-1], LATER)

    for _ in range(3):
        rotate(store, old.api_key, NOW, decide)
    assert [former and former.api_key for former in formers] == [
        None,
        made[0].api_key,
        made[1].api_key,
    ]
    ended = store.find(old.api_key)
    assert ended is not None
    assert (ended.rotated_to, ended.original_expires_at) == (made[2].api_key, None)


def test_a_rotation_whose_successor_is_taken_changes_nothing(store: Store) -> None:
    old, taken = add(store, new_credential()), add(store, new_credential())
    with pytest.raises(DuplicateApiKey):
        rotate(
            store,
            old.api_key,
            NOW,
            rotation(new_credential(api_key=taken.api_key)),  # type: ignore[arg-type]
        )
    assert store.find(old.api_key) == old


# ---- The log of invalidations


def test_changes_are_logged_in_order(store: Store) -> None:
    one, other, successor = (new_credential() for _ in range(3))
    add(store, one)
    add(store, other)
    revoke(store, one.api_key, NOW)
    change(store, other.api_key, NOW, lambda _: Change(name="x"))
    change(store, other.api_key, NOW, lambda _: Change())
    rotate(store, other.api_key, NOW, rotation(successor))  # type: ignore[arg-type]
    assert logged(store) == [
        *(one.lookup, other.lookup, one.lookup, other.lookup, other.lookup),
        *(successor.lookup, other.lookup),
    ]
    numbers = [row.number for row in store.invalidations.after(0)]
    assert numbers == list(range(1, 8))
    assert logged(store, after=5) == [successor.lookup, other.lookup]
    assert logged(store, after=7) == []


def test_an_unchanged_state_is_not_logged(store: Store) -> None:
    added = add(store, new_credential())
    revoke(store, added.api_key, NOW)
    before = logged(store)
    with pytest.raises(CredentialNotFound):
        revoke(store, added.api_key, NOW)
    with pytest.raises(DuplicateApiKey):
        add(store, new_credential(api_key=added.api_key))
    assert logged(store) == before


def test_an_outcome_has_everything_to_publish(store: Store) -> None:
    author = Author(TESTER)
    new, successor = new_credential(), new_credential(name="successor")
    key = new.api_key
    outcomes = [
        store.add(lambda caller: new, Action.KEY_ISSUE, author),
        store.change(key, NOW, lambda caller, found: Change(), author),
        store.rotate(key, NOW, lambda caller, found, former: Rotation(successor, LATER), author),
        store.revoke(key, NOW, author),
    ]
    published = [outcome.publication for outcome in outcomes]
    assert [tuple(one.log_rows) for one in published] == [(1,), (2,), (3, 4), (5,)]
    assert [one.head and one.head.number for one in published] == [1, 2, 3, 4]
    assert [set(one.lookups) for one in published] == [
        *({new.lookup}, {new.lookup}, {new.lookup, successor.lookup}, {new.lookup})
    ]
    assert not any(one.replaces_head for one in published)


def test_a_change_that_was_already_made_is_published_too(store: Store) -> None:
    """The process that made it may have died before it published it."""
    author = Author(TESTER)
    new = new_credential()
    add(store, new)
    twice = store.add(lambda caller: new, Action.KEY_ISSUE, author)
    revoke(store, new.api_key, NOW)
    again = store.revoke(new.api_key, NOW, author)
    for outcome, kind in ((twice, DuplicateApiKey), (again, CredentialNotFound)):
        assert isinstance(outcome, Refused)
        assert isinstance(outcome.error, kind)
        assert outcome.publication == Publication([new.lookup])


def test_a_key_of_the_other_mode_is_treated_as_unknown(store: Store) -> None:
    """Even if it is already revoked: nothing needs to be published."""
    other = add(store, new_credential(mode="test"))
    author = Author(TESTER, add(store, new_credential()).principal())
    for _ in range(2):
        with pytest.raises(CredentialNotFound):
            store.revoke(other.api_key, NOW, author)
        with suppress(CredentialNotFound):
            revoke(store, other.api_key, NOW)
