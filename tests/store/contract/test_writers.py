"""Concurrent writers with their own stores: both take effect, or one is refused; none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Change, Credential, Principal, Rotation, Tally
from latchkey.credentials.publishing import Made, Outcome, Refusal, Refused
from latchkey.errors import (
    AlreadyRotated,
    CredentialNotFound,
    DuplicateApiKey,
    InsufficientScope,
    InvalidCredential,
    LatchkeyError,
    RevokedCredential,
    StoreError,
)
from latchkey.store.audit_head import Seal
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, change, result_of, revoke
from tests.support.store.new_credentials import NOW, NewStore, new_credential

T = TypeVar("T")

AUTHOR = Author(TESTER)
WRITERS = 4
LATER = NOW + timedelta(hours=1)


def at_once(stores: Sequence[Store], act: Callable[[Store], T]) -> list[T]:
    """The results of all stores, which start at the same time."""
    start = threading.Barrier(len(stores))

    def one(store: Store) -> T:
        start.wait(30)
        return act(store)

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(one, stores))


@pytest.fixture
def stores(new_store: NewStore) -> list[Store]:
    """Stores with one database, which wait for each other."""
    return [new_store(write_timeout=60.0) for _ in range(WRITERS)]


def refused(outcomes: Sequence[Outcome[T]]) -> list[Refused]:
    return [one for one in outcomes if isinstance(one, Refused)]


def require_whole(store: Store, seal: Seal, rows: int) -> None:
    """Check that the audit log has this number of rows and is intact."""
    assert [row.number for row in store.audit.entries()] == list(range(1, rows + 1))
    seal.head.replace(store.audit.last())
    assert store.audit.verify().findings == []


def test_one_key_is_added_once(stores: list[Store], seal: Seal) -> None:
    new = new_credential()
    outcomes = at_once(stores, lambda store: store.add(lambda _: new, Action.KEY_ISSUE, AUTHOR))
    lost = refused(outcomes)
    assert len(lost) == WRITERS - 1
    assert all(isinstance(one.error, DuplicateApiKey) for one in lost)
    assert stores[0].count("live") == 1
    assert len(stores[0].invalidations.after(0)) == 1
    require_whole(stores[0], seal, 1)


def test_no_change_is_lost(stores: list[Store], seal: Seal) -> None:
    """Each decides by the state that the previous one has left."""
    added = add(stores[0], new_credential(name="0"))

    def count_up(store: Store) -> None:
        for _ in range(10):
            change(
                store,
                added.api_key,
                NOW,
                lambda found: Change(name=str(int(found.name) + 1)),  # type: ignore[arg-type]
            )

    at_once(stores, count_up)
    found = stores[0].find(added.api_key)
    assert found is not None
    assert found.name == str(10 * WRITERS)
    require_whole(stores[0], seal, 1 + 10 * WRITERS)


def test_one_rotation_wins(stores: list[Store], seal: Seal) -> None:
    old = add(stores[0], new_credential())

    def decide(_: object, found: Credential, former: Credential | None) -> Rotation:
        if former is not None:
            raise Refusal(AlreadyRotated(former.api_key), [found.lookup])
        return Rotation(new_credential(), LATER)

    outcomes = at_once(stores, lambda store: store.rotate(old.api_key, NOW, decide, AUTHOR))
    (made,) = [one for one in outcomes if isinstance(one, Made)]
    for one in refused(outcomes):
        assert isinstance(one.error, AlreadyRotated)
        assert list(one.publication.lookups) == [old.lookup]
    found = stores[0].find(old.api_key)
    assert found is not None
    assert found.rotated_to == made.result.api_key
    assert stores[0].count("live") == 2
    require_whole(stores[0], seal, 2)


def test_one_revocation_wins_and_all_publish(stores: list[Store], seal: Seal) -> None:
    added = add(stores[0], new_credential())
    moments = iter([NOW + timedelta(hours=hour) for hour in range(WRITERS)])
    lock = threading.Lock()

    def act(store: Store) -> tuple[datetime, Outcome[Credential]]:
        with lock:
            moment = next(moments)
        return moment, store.revoke(added.api_key, moment, AUTHOR)

    outcomes = at_once(stores, act)
    ((moment, _),) = [one for one in outcomes if isinstance(one[1], Made)]
    found = stores[0].find(added.api_key)
    assert found is not None
    assert found.revoked_at == moment
    assert all(added.lookup in one.publication.lookups for _, one in outcomes)
    require_whole(stores[0], seal, 2)


def test_rows_of_the_audit_log_are_numbered_without_gaps(stores: list[Store], seal: Seal) -> None:
    def write(store: Store) -> None:
        for _ in range(10):
            new = new_credential()
            add(store, new)
            result_of(store.audit.record(AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER)))
            with pytest.raises(DuplicateApiKey):
                add(store, new)

    at_once(stores, write)
    require_whole(stores[0], seal, 20 * WRITERS)


def test_only_one_administrator_is_set_up(stores: list[Store], seal: Seal) -> None:
    assert stores[0].administrators.offer_set_up(b"1" * 32, LATER)
    names = {store: f"admin-{number}" for number, store in enumerate(stores)}

    def act(store: Store) -> object:
        record = AuditEvent(NOW, Action.ADMIN_SET_UP, Actor.nobody(None), names[store])
        return result_of(store.administrators.set_up(b"1" * 32, names[store], "hash", NOW, record))

    made = [one for one in at_once(stores, act) if one is not None]
    assert made == list(stores[0].administrators.by_name())
    assert len(made) == 1
    require_whole(stores[0], seal, 1)


def test_growing_counters_are_flushed_by_all_and_counted_once(stores: list[Store]) -> None:
    numbers = [add(stores[0], new_credential()).id for _ in range(5)]
    last = round(NOW.timestamp() * 1000)

    def flush(store: Store) -> None:
        for uses in range(1, 21):
            tallies = [Tally(number, uses, last, scope=uses) for number in numbers]
            store.usage.flush("1" * 32, tallies, NOW)

    at_once(stores, flush)
    for number in numbers:
        record = stores[0].usage.record(number, "1" * 32)
        assert list(record.hours.values()) == [20]
        assert record.refusals == {"scope": 20}
        assert record.watermark == Tally(number, 20, scope=20)


def test_a_flush_and_a_change_of_the_same_credential(stores: list[Store]) -> None:
    added = add(stores[0], new_credential(name="0"))
    last = round(NOW.timestamp() * 1000)

    def act(store: Store) -> None:
        for turn in range(1, 11):
            if store in stores[:2]:
                store.usage.flush("1" * 32, [Tally(added.id, turn, last + turn)], NOW)
            else:
                name = f"{stores.index(store)}-{turn}"
                change(store, added.api_key, NOW, lambda _, name=name: Change(name=name))  # type: ignore[misc]

    at_once(stores, act)
    found = stores[0].find(added.api_key)
    assert found is not None
    assert found.last_used_at == NOW + timedelta(milliseconds=10)
    assert found.name in ("2-10", "3-10")
    assert sum(stores[0].usage.record(added.id, "1" * 32).hours.values()) == 10


# ---- Turns


def test_uncommitted_changes_are_not_visible(store: Store, new_store: NewStore) -> None:
    other = new_store()
    old = add(store, new_credential())
    new = new_credential()

    def decide(_: object, found: Credential, former: object) -> Rotation:
        assert other.find(old.api_key) == found == old
        assert other.find(new.api_key) is None
        assert other.verifier(new.api_key) is None
        return Rotation(new, LATER)

    result_of(store.rotate(old.api_key, NOW, decide, AUTHOR))
    assert other.find(new.api_key) is not None
    verifier = other.verifier(old.api_key)
    assert verifier is not None
    assert verifier.principal.expires_at == LATER


def test_a_change_that_times_out_changes_nothing(new_store: NewStore) -> None:
    store, impatient = new_store(), new_store(write_timeout=0.05)
    one, other = (add(store, new_credential()) for _ in range(2))
    tried: list[str] = []

    def decide(found: Credential) -> Change:
        with pytest.raises(StoreError):
            revoke(impatient, other.api_key, NOW)
        with pytest.raises(StoreError):
            add(impatient, new_credential())
        tried.append(found.api_key)
        return Change(name="changed")

    change(store, one.api_key, NOW, decide)
    assert tried == [one.api_key]
    assert impatient.find(other.api_key) == other
    assert len(store.invalidations.after(0)) == store.audit.last().number == 3
    # It gets its turn afterwards.
    revoke(impatient, other.api_key, NOW)


class _Interrupted(Exception):
    """An unexpected error."""


@pytest.mark.parametrize("error", [_Interrupted, CredentialNotFound, KeyboardInterrupt])
def test_any_error_in_a_change_rolls_it_back(store: Store, error: type[BaseException]) -> None:
    added = add(store, new_credential())
    before = store.audit.last()

    def fail(*_: object) -> object:
        raise error

    acts: list[Callable[[], object]] = [
        lambda: store.add(fail, Action.KEY_ISSUE, AUTHOR),  # type: ignore[arg-type]
        lambda: store.change(added.api_key, NOW, fail, AUTHOR),  # type: ignore[arg-type]
        lambda: store.rotate(added.api_key, NOW, fail, AUTHOR),  # type: ignore[arg-type]
        lambda: store.audit.record_new_end(fail),  # type: ignore[arg-type]
    ]
    for act in acts:
        with pytest.raises(error):
            act()
    assert store.find(added.api_key) == added
    assert store.audit.last() == before
    assert len(store.invalidations.after(0)) == 1
    # The turn is released, too.
    revoke(store, added.api_key, NOW)


# ---- The key that makes a change


def changes(store: Store, victim: Credential, author: Author) -> list[Outcome[Credential]]:
    def never(*_: object) -> object:
        raise AssertionError("the caller may not change anything")

    return [
        store.add(never, Action.KEY_ISSUE, author),  # type: ignore[arg-type]
        store.revoke(victim.api_key, NOW, author),
        store.change(victim.api_key, NOW, never, author),  # type: ignore[arg-type]
        store.rotate(victim.api_key, NOW, never, author),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("fault", ["revoked", "narrowed", "unknown"])
def test_the_key_that_makes_a_change_is_read_in_it(
    store: Store, new_store: NewStore, fault: str
) -> None:
    """It was checked before; changes since then count."""
    other = new_store()
    caller, victim = (add(store, new_credential()) for _ in range(2))
    principal = caller.principal()
    expected: type[LatchkeyError] = InvalidCredential
    if fault == "revoked":
        revoke(other, caller.api_key, NOW)
        expected = RevokedCredential
    elif fault == "narrowed":
        terms = Change(scopes=frozenset({"account:read"}))
        change(other, caller.api_key, NOW, lambda _: terms)
        expected = InsufficientScope
    else:
        principal = new_principal(principal)
    before = store.audit.last()
    for outcome in changes(store, victim, Author(TESTER, principal)):
        assert isinstance(outcome, Refused)
        assert isinstance(outcome.error, expected)
        lookups = [] if fault == "unknown" else [caller.lookup]
        assert list(outcome.publication.lookups) == lookups
    assert store.find(victim.api_key) == victim
    assert store.audit.last() == before


def new_principal(known: Principal) -> Principal:
    """A principal whose key does not exist."""
    return Principal(
        credential_id=known.credential_id + 99,
        account_id=known.account_id,
        api_key=new_credential().api_key,
        mode=known.mode,
        name=known.name,
        scopes=known.scopes,
        expires_at=None,
    )


def test_decide_gets_the_current_key(store: Store) -> None:
    caller, other = (add(store, new_credential()) for _ in range(2))
    principal = caller.principal()
    change(store, caller.api_key, NOW, lambda _: Change(name="renamed"))
    seen: list[Credential | None] = []

    def decide(now: Credential | None, found: Credential) -> Change:
        seen.append(now)
        return Change()

    result_of(store.change(other.api_key, NOW, decide, Author(TESTER, principal)))
    found = store.find(caller.api_key)
    assert found is not None
    assert seen == [found]
    assert found.name == "renamed"
