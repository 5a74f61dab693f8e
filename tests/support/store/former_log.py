"""An audit log as version 0.2 left it: no digests, its own MACs, and a head with its own seal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from latchkey.credentials.audit import NO_MAC, AuditKey, AuditRow, Head
from latchkey.store.audit_head import HeadFile, Seal
from tests.support.audited import AUDIT_KEY
from tests.support.database import new_database
from tests.support.store.new_credentials import NOW

_COLUMNS = ("number", "at", "action", "actor_kind", "actor", "address", "subject", "detail", "mac")


def write_former_head(path: Path, head: Head, key: AuditKey = AUDIT_KEY) -> None:
    fields = {"number": head.number, "mac": head.mac, "seal": key.former_seal(head)}
    path.write_text(json.dumps(fields) + "\n")
    path.chmod(0o600)


def former_rows(count: int, key: AuditKey = AUDIT_KEY) -> list[AuditRow]:
    """Rows with the MACs of version 0.2: every third has no address."""
    rows = []
    mac = NO_MAC
    at = round(NOW.timestamp() * 1000)
    for number in range(1, count + 1):
        address = None if number % 3 == 0 else f"192.0.2.{number % 250}"
        detail = json.dumps({"name": f"key {number}"}, separators=(",", ":"))
        fields = (number, at, "key.issue", "administrator", "ann", address, f"ak_{number}", detail)
        mac = key.former_mac(mac, fields)
        rows.append(AuditRow(*fields, mac))
    return rows


def write_former_log(path: Path, count: int, key: AuditKey = AUDIT_KEY) -> Seal:
    """Make a database with such a log, and its head file beside it."""
    new_database(path)
    rows = former_rows(count, key)
    marks = ", ".join("?" * len(_COLUMNS))
    insertion = f"INSERT INTO audit ({', '.join(_COLUMNS)}) VALUES ({marks})"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            insertion, [[getattr(row, name) for name in _COLUMNS] for row in rows]
        )
        connection.execute("COMMIT")
    head = path.with_name("audit.head")
    write_former_head(head, Head(count, rows[-1].mac if rows else NO_MAC), key)
    return Seal(key, HeadFile(head, key))
