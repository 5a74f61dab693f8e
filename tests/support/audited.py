"""Stores whose changes are written down, and who makes them in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latchkey.config import load_settings
from latchkey.credentials.audit import Action, Actor, AuditKey, Trail
from latchkey.key_files import make_audit_key_file
from latchkey.store import Store
from latchkey.store.audit_head import HeadFile, Seal

TESTER = Actor.command_line("tester")
AUDIT_KEY = AuditKey(b"\xad" * 32)


def new_trail(action: Action = Action.KEY_CHANGE) -> Trail:
    """The trail of a change by the tester."""
    return Trail(TESTER, action)


def new_seal(database: Path) -> Seal:
    """A key, and a head beside the database: for tests that nobody attacks."""
    seal = Seal(AUDIT_KEY, HeadFile(database.with_name("audit.head"), AUDIT_KEY))
    seal.head.make()
    return seal


def audit_files(directory: Path) -> dict[str, str]:
    """Make the key and the head of an empty log in a directory; the settings that name them."""
    made = {
        "LATCHKEY_AUDIT_KEY_FILE": str(directory / "audit.key"),
        "LATCHKEY_AUDIT_HEAD_FILE": str(directory / "audit.head"),
    }
    settings = load_settings({"LATCHKEY_DATABASE_URL": "sqlite:///latchkey.db", **made})
    make_audit_key_file(settings, 0)
    return made


def open_store(url: str, **options: Any) -> Store:
    """A store over the database at ``sqlite:///…`` that can be changed."""
    return Store(url, seal=new_seal(Path(url.removeprefix("sqlite:///"))), **options)
