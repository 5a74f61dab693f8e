"""Other methods of a store: the check, the upkeep and closing."""

from __future__ import annotations

import fcntl
import os

import pytest

from latchkey.credentials.audit import Action
from latchkey.credentials.callers import Author
from latchkey.credentials.publishing import Publisher
from latchkey.store.audit_head import Seal
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add
from tests.support.store.new_credentials import NewStore, new_credential


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
