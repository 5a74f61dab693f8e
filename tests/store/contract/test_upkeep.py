"""Other methods of a store: the check, the upkeep and closing."""

from __future__ import annotations

import fcntl
import os
from datetime import timedelta

import pytest

from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.audit_erasure import Bounds
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Sighting, Tally
from latchkey.credentials.publishing import Publisher
from latchkey.store.audit_head import Seal
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, record, result_of
from tests.support.store.new_credentials import NOW, NewStore, new_credential


def test_a_store_that_works(store: Store) -> None:
    store.check()
    store.look_after()
    add(store, new_credential())
    store.check()
    store.look_after()


def test_a_closed_store_can_be_used_again(store: Store, new_store: NewStore) -> None:
    added = add(store, new_credential())
    store.close()
    assert store.find(added.api_key) == added
    assert store.verifier(added.api_key) is not None
    store.close()
    store.close()
    other = add(store, new_credential())
    assert new_store().find(other.api_key) == other


def test_a_postponed_head_is_kept_later(
    store: Store, seal: Seal, caplog: pytest.LogCaptureFixture
) -> None:
    """While another process holds the lock of the head, changes are still made and published."""
    invalidated: list[str] = []
    publisher = Publisher(store.audit, invalidated.append)
    lock = seal.head.path.with_name(f"{seal.head.path.name}.lock")
    new = new_credential()
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        added = publisher.publish(store.add(lambda caller: new, Action.KEY_ISSUE, Author(TESTER)))
        assert invalidated == [added.lookup]
        assert seal.head.read().number == 0
        store.look_after()
        assert seal.head.read().number == 0
    finally:
        os.close(descriptor)
    store.look_after()
    assert seal.head.read() == store.audit.last()
    assert len(caplog.records) == 1


# ---- What was kept long enough


def expire(store: Store, bounds: Bounds) -> None:
    after: int | None = 0
    while after is not None:
        after = result_of(store.audit.expire(bounds, NOW + timedelta(days=9), after))


def test_expired_values_are_erased_and_recorded(store: Store) -> None:
    for day in (0, 1, 2):
        actor = Actor.administrator("ann", f"192.0.2.{day}")
        event = AuditEvent(
            NOW + timedelta(days=day), Action.ADMIN_SIGN_IN, actor, "ann", {"n": day}
        )
        record(store, event)
    expire(store, Bounds(NOW + timedelta(days=2), NOW + timedelta(days=1)))
    rows = list(store.audit.entries())
    assert [row.address for row in rows] == [None, None, "192.0.2.2", None]
    assert [row.is_address_erased for row in rows] == [True, True, False, False]
    assert [row.is_detail_erased for row in rows] == [True, False, False, False]
    assert (rows[3].action, rows[3].actor_kind) == ("audit.expire", "service")
    expire(store, Bounds(NOW + timedelta(days=2), NOW + timedelta(days=1)))
    assert list(store.audit.entries()) == rows
    Publisher(store.audit).publish(
        store.audit.record_new_end(lambda: AuditEvent(NOW, Action.AUDIT_ACCEPT, TESTER))
    )
    found = store.audit.verify()
    assert (found.findings, found.erased_addresses, found.erased_details) == ([], 2, 1)


def test_nothing_expires_without_bounds(store: Store) -> None:
    record(store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, Actor.administrator("ann", "192.0.2.1")))
    rows = list(store.audit.entries())
    expire(store, Bounds())
    expire(store, Bounds(NOW, NOW))
    assert list(store.audit.entries()) == rows


def test_old_addresses_of_keys_are_forgotten(store: Store) -> None:
    added = add(store, new_credential())
    seen = tuple(Sighting(f"192.0.2.{day}", NOW + timedelta(days=day)) for day in (2, 1, 0))
    store.usage.flush("s", [Tally(added.id, uses=3, sightings=seen)], NOW)
    assert store.usage.forget_addresses(NOW) == 0
    assert store.usage.forget_addresses(NOW + timedelta(days=2)) == 2
    assert store.usage.record(added.id, "s").sightings == seen[:1]
