"""Stores with an audit log, and the actors of changes in tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from latchkey.config import load_settings
from latchkey.credentials.audit import Action, Actor, AuditEvent, AuditKey
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Change, Credential, NewCredential, Rotation
from latchkey.credentials.publishing import Outcome, Publisher, Refused
from latchkey.key_files import make_audit_key_file
from latchkey.store.audit_head import HeadFile, Seal
from latchkey.store.credentials import SqlStore
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store

T = TypeVar("T")

TESTER = Actor.command_line("tester")
AUDIT_KEY = AuditKey(b"\xad" * 32)


def record(store: Store, made: AuditEvent) -> None:
    """Add a row to the audit log, and keep the head."""
    Publisher(store.audit).publish(store.audit.record(made))


def result_of(outcome: Outcome[T]) -> T:
    """The result of a change; nothing is cached in the test, so it is not published."""
    if isinstance(outcome, Refused):
        raise outcome.error
    return outcome.result


def answered(store: Store, outcome: Outcome[T]) -> T:
    """The result of a change, published without subscribers."""
    return Publisher(store.audit, lambda lookup: None).publish(outcome)


def add(
    store: Store, new: NewCredential, *, by: Actor = TESTER, action: Action = Action.KEY_ISSUE
) -> Credential:
    """Store a credential without publishing it, like a process that is killed after its commit."""
    return result_of(store.add(lambda caller: new, action, Author(by)))


def revoke(store: Store, api_key: str, now: datetime, *, by: Actor = TESTER) -> Credential:
    """Revoke a credential without publishing it."""
    return result_of(store.revoke(api_key, now, Author(by)))


def change(
    store: Store,
    api_key: str,
    now: datetime,
    decide: Callable[[Credential], Change],
    *,
    by: Actor = TESTER,
) -> Credential:
    """Change a credential without publishing it."""
    author = Author(by)
    return result_of(store.change(api_key, now, lambda caller, found: decide(found), author))


def rotate(
    store: Store,
    api_key: str,
    now: datetime,
    decide: Callable[[Credential, Credential | None], Rotation],
    *,
    by: Actor = TESTER,
) -> Credential:
    """Rotate a credential without publishing it; returns the successor."""
    author = Author(by)
    return result_of(
        store.rotate(api_key, now, lambda caller, found, former: decide(found, former), author)
    )


def new_seal(database: Path) -> Seal:
    """A key, and a head in the database's directory: for tests without an attacker."""
    seal = Seal(AUDIT_KEY, HeadFile(database.with_name("audit.head"), AUDIT_KEY))
    seal.head.make()
    return seal


def audit_files(directory: Path) -> dict[str, str]:
    """Create the key and the head of an empty log in a directory; returns the settings for them."""
    made = {
        "LATCHKEY_AUDIT_KEY_FILE": str(directory / "audit.key"),
        "LATCHKEY_AUDIT_HEAD_FILE": str(directory / "audit.head"),
    }
    settings = load_settings({"LATCHKEY_DATABASE_URL": "sqlite:///latchkey.db", **made})
    make_audit_key_file(settings, 0)
    return made


def open_store(url: str, **options: Any) -> SqlStore:
    """A store for the database at ``sqlite:///…``, which accepts changes."""
    made = database_at(url).open_store(
        seal=new_seal(Path(url.removeprefix("sqlite:///"))), **options
    )
    assert isinstance(made, SqlStore)
    return made
