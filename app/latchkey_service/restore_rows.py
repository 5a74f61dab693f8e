"""The row of the audit log that records a restore."""

from __future__ import annotations

from latchkey.credentials.audit import Action, AuditEvent
from latchkey.credentials.audit_check import LOG_GOES_ON
from latchkey.credentials.times import utc_now
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.carrying.carried import Carried
from latchkey_service.command_user import command_line_user


def restore_event(
    seal: Seal,
    given: dict[str, object],
    carried: Carried | None,
    findings: list[str],
    rows: int,
) -> AuditEvent:
    """The event of a restore. It records the kept head, and so the end of the previous log.

    ``given`` names what was restored, and ``findings`` are those that were accepted. ``rows`` is
    the last number of the restored log.
    """
    detail = {
        **given,
        "head": _head(seal),
        "log": LOG_GOES_ON if carried is not None and carried.audited else "begins at the backup",
        "rows": rows,
    }
    if findings:
        detail["findings"] = findings
    if carried is not None:
        detail |= carried.detail
    return AuditEvent(utc_now(), Action.STORE_RESTORE, command_line_user(), detail=detail)


def _head(seal: Seal) -> int | str:
    """The number of the kept head, or why it is unusable."""
    try:
        return seal.head.read().number
    except HeadUnusable as error:
        return str(error)
