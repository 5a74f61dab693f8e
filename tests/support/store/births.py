"""Keys that were issued, rotated and imported, and their rows in the audit log."""

from __future__ import annotations

from datetime import timedelta

from latchkey.credentials.audit import Action, AuditFilter
from latchkey.credentials.models import Credential, Rotation
from latchkey.store.protocols import Store
from tests.support.audited import TESTER, add, rotate
from tests.support.store.new_credentials import NOW, new_credential


def told(store: Store, api_key: str) -> list[tuple[int, str]]:
    """Number and action of each row about a key, oldest first; checks every way to read them."""
    wanted = AuditFilter(subject=api_key)
    rows = [(entry.number, entry.action) for entry in store.audit.entries(wanted)]
    paged = [(entry.number, entry.action) for entry in store.audit.page(wanted, 100)]
    assert paged == rows[::-1]
    return rows


def issue(store: Store) -> Credential:
    return add(store, new_credential(), action=Action.KEY_ISSUE)


def rotated(store: Store, api_key: str) -> str:
    """The successor."""
    successor = new_credential()
    made = rotate(store, api_key, NOW, lambda found, former: Rotation(successor, None))
    return made.api_key


def import_some(store: Store, count: int, moment: timedelta = timedelta()) -> list[str]:
    """The keys of one import."""
    new = [
        new_credential(created_at=NOW + moment, origin="imported", derivation_id="")
        for _ in range(count)
    ]
    store.imported.add_all(new, lambda present: (), {}, TESTER, lambda done: None)
    return [one.api_key for one in new]
