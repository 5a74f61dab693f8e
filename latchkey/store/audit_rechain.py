"""Re-chaining the audit log, once: rows of version 0.2 get digests, and all rows new MACs.

The MACs of that version cover the addresses and details themselves, so values cannot be erased.
The previous chain is verified in the same pass, and its findings are recorded in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sqlalchemy import Connection, bindparam, update

from latchkey.credentials.audit import NO_MAC, Action, Actor, AuditEvent, AuditKey, AuditRow, Head
from latchkey.credentials.audit_check import Verification, verify
from latchkey.credentials.audit_findings import messages
from latchkey.credentials.times import utc_now
from latchkey.store.tables import audit

_BATCH = 1_000
_NEW = ("mac", "address_salt", "address_digest", "detail_salt", "detail_digest")
_REPLACE = (
    update(audit)
    .where(audit.c.number == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in _NEW})
)


def rechain(
    connection: Connection, key: AuditKey, entries: Iterable[AuditRow], head: Head | None
) -> Verification:
    """Re-chain the log in a transaction; returns the findings of the previous chain.

    ``entries`` are all rows as they were committed before the transaction, oldest first. ``head``
    is the end of the previous chain according to the head file; with None, it is not compared.
    """
    return verify(key, _rechained(connection, key, entries), head)


def rechaining_event(found: Verification, head: Head | None, unverified: str) -> AuditEvent:
    """The row that records a re-chaining. With ``unverified``, the reason is the only finding."""
    detail: dict[str, object] = {"rows": found.last.number, "mac": found.last.mac}
    if head is not None:
        detail["head"] = {"number": head.number, "mac": head.mac}
    if findings := [unverified] if unverified else messages(found.findings):
        detail["findings"] = findings
    return AuditEvent(utc_now(), Action.AUDIT_RECHAIN, Actor.service(), detail=detail)


def _rechained(
    connection: Connection, key: AuditKey, entries: Iterable[AuditRow]
) -> Iterator[AuditRow]:
    """Pass the rows on as they are, and write their digests and their new MACs."""
    previous = NO_MAC
    changes: list[dict[str, str | int | None]] = []
    for entry in entries:
        # A row with a number below 1 is not in the chain, and stays a finding.
        if entry.number > 0:
            new = entry.with_digests() if entry.is_former else entry
            new = replace(new, mac=key.mac(previous, new.fields))
            previous = new.mac
            values = {f"new_{name}": getattr(new, name) for name in _NEW}
            changes.append({"of": new.number, **values})
            if len(changes) == _BATCH:
                connection.execute(_REPLACE, changes)
                changes.clear()
        yield entry
    if changes:
        connection.execute(_REPLACE, changes)
