"""An audit log of nine rows in a real database, and writing to it with other tools."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from latchkey.credentials.audit import Action, Actor, AuditEvent, AuditKey, Head
from latchkey.credentials.audit_check import Verification, verify
from latchkey.store.audit_head import HeadUnusable
from tests.support.audited import AUDIT_KEY, new_seal, open_store, record
from tests.support.store.new_credentials import NOW

ROWS = 9


class AuditBox:
    """A log of nine rows, whose database can be changed with other tools."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seal = new_seal(path)
        self.store = open_store(f"sqlite:///{path}")
        for number in range(1, ROWS + 1):
            self.record(f"admin {number}")

    def record(self, subject: str) -> None:
        actor = Actor.administrator("ann", "192.0.2.1")
        record(self.store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, actor, subject))

    def edit(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def head(self) -> Head | str:
        try:
            return self.seal.head.read()
        except HeadUnusable as error:
            return str(error)

    def verify(self, key: AuditKey = AUDIT_KEY) -> Verification:
        head = self.head()
        return verify(key, self.store.audit.entries(), head)

    def found(self) -> list[tuple[str, int, int]]:
        return [(one.problem, one.first, one.last) for one in self.verify().findings]

    def close(self) -> None:
        self.store.close()
