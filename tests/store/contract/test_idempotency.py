"""Requests that create a key at most once, however often they are repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from latchkey.credentials.audit import Action
from latchkey.credentials.callers import Author
from latchkey.credentials.idempotency import KEPT, Once
from latchkey.credentials.models import Credential, Rotation
from latchkey.credentials.publishing import Made, Outcome, Publication, Refused
from latchkey.errors import (
    AlreadyCreated,
    DuplicateApiKey,
    IdempotencyKeyReused,
    InsufficientScope,
    RevokedCredential,
)
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, result_of, revoke
from tests.support.store.new_credentials import NOW, new_credential

FIRST = Once("a", b"1" * 32)
OTHER_REQUEST = Once("a", b"2" * 32)
OTHER_KEY = Once("b", b"1" * 32)

Make = Callable[[Store, Credential, Once | None], Outcome[Credential]]


def creating(store: Store, caller: Credential, once: Once | None) -> Outcome[Credential]:
    author = Author(TESTER, caller.principal(), once=once)
    return store.add(lambda caller: new_credential(), Action.KEY_ISSUE, author)


def rotating(store: Store, caller: Credential, once: Once | None) -> Outcome[Credential]:
    """A key that replaces itself, as often as it is asked."""
    author = Author(TESTER, caller.principal(), once=once)
    return store.rotate(
        caller.api_key,
        NOW,
        lambda caller, found, former: Rotation(new_credential(), found.expires_at),
        author,
    )


@pytest.fixture
def caller(store: Store) -> Credential:
    return add(store, new_credential())


def refused(outcome: Outcome[Credential]) -> Refused:
    assert isinstance(outcome, Refused)
    return outcome


@pytest.mark.parametrize("make", [creating, rotating])
def test_a_repeated_request_is_refused_and_published_again(
    store: Store, caller: Credential, make: Make
) -> None:
    first = make(store, caller, FIRST)
    assert isinstance(first, Made)
    rows, keys = store.audit.last(), store.count("live")
    for _ in range(2):
        repeated = refused(make(store, caller, FIRST))
        assert isinstance(repeated.error, AlreadyCreated)
        assert first.result.api_key in str(repeated.error)
        assert repeated.publication == Publication(first.publication.lookups)
    other = refused(make(store, caller, OTHER_REQUEST))
    assert isinstance(other.error, IdempotencyKeyReused)
    assert (store.audit.last(), store.count("live")) == (rows, keys)
    assert isinstance(make(store, caller, OTHER_KEY), Made)
    assert isinstance(make(store, caller, None), Made)


@pytest.mark.parametrize("make", [creating, rotating])
def test_entries_belong_to_the_calling_key(store: Store, caller: Credential, make: Make) -> None:
    result_of(make(store, caller, FIRST))
    for _ in range(2):
        other = add(store, new_credential())
        assert isinstance(make(store, other, FIRST), Made)


def test_a_failed_request_leaves_no_entry(store: Store, caller: Credential) -> None:
    author = Author(TESTER, caller.principal(), once=FIRST)
    taken = replace(new_credential(), api_key=caller.api_key)
    outcome = store.add(lambda caller: taken, Action.KEY_ISSUE, author)
    assert isinstance(refused(outcome).error, DuplicateApiKey)
    assert isinstance(creating(store, caller, FIRST), Made)


def test_the_rights_of_the_caller_come_first(store: Store) -> None:
    caller = add(store, new_credential(scopes=frozenset({"credentials:write"})))
    target = add(store, new_credential())
    result_of(creating(store, caller, FIRST))

    def rotate(once: Once) -> Outcome[Credential]:
        author = Author(TESTER, caller.principal(), once=once)
        return store.rotate(
            target.api_key,
            NOW,
            lambda caller, found, former: Rotation(new_credential(), None),
            author,
        )

    with pytest.raises(InsufficientScope):
        rotate(FIRST)
    revoke(store, caller.api_key, NOW)
    for outcome in (rotate(FIRST), creating(store, caller, FIRST)):
        assert isinstance(refused(outcome).error, RevokedCredential)


def test_entries_are_kept_for_a_day(store: Store, caller: Credential) -> None:
    def at(moment: datetime) -> Outcome[Credential]:
        author = Author(TESTER, caller.principal(), once=FIRST)
        new = replace(new_credential(), created_at=moment)
        return store.add(lambda caller: new, Action.KEY_ISSUE, author)

    moment = timedelta(milliseconds=1)
    result_of(at(NOW))
    assert store.idempotency.prune(NOW + KEPT - moment) == 0
    assert isinstance(refused(at(NOW + KEPT - moment)).error, AlreadyCreated)
    # It is replaced, whether it was pruned or not.
    result_of(at(NOW + KEPT))
    assert isinstance(refused(at(NOW + KEPT + moment)).error, AlreadyCreated)
    assert store.idempotency.prune(NOW + KEPT + KEPT) == 1
    assert store.idempotency.prune(NOW + KEPT + KEPT) == 0
    result_of(at(NOW + KEPT + moment))
