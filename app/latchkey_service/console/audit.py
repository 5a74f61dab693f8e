"""The pages of the audit log: the filtered list, the export and the verification."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from threading import BoundedSemaphore
from urllib.parse import urlencode

from flask import Blueprint, current_app, render_template, request
from werkzeug.wrappers import Response

from latchkey.credentials.audit import Action, AuditFilter, AuditRow
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import ExportsBusy
from latchkey_service.console.answers import ROWS_OF_A_PAGE, page
from latchkey_service.console.sessions import latchkey

audit = Blueprint("audit", __name__, url_prefix="/console/audit")

_LONGEST = 100
_BLOCK = 64 * 1024
_LARGEST_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The filter in the URL of a page. An empty text is no condition."""

    key: str = ""
    actor: str = ""
    action: str = ""
    before: int | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> AuditQuery:
        """Parse the arguments of a URL; invalid ones are ignored."""
        action, before = arguments.get("action", ""), arguments.get("before", "")
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 20 else None
        return cls(
            key=redact_secrets(arguments.get("key", "").strip())[:_LONGEST],
            actor=redact_secrets(arguments.get("actor", "").strip())[:_LONGEST],
            action=action if action in {each.value for each in Action} else "",
            before=None if number is None else min(number, _LARGEST_NUMBER),
        )

    @property
    def filter(self) -> AuditFilter:
        """The filter for the audit log."""
        return AuditFilter(self.key or None, self.actor or None, self.action or None)

    def address(self, before: int | None = None) -> str:
        """The arguments of a URL for this query, for the rows before a number."""
        given = {"key": self.key, "actor": self.actor, "action": self.action}
        given["before"] = "" if before is None else str(before)
        return f"?{urlencode({name: value for name, value in given.items() if value})}"


@audit.get("/")
def show() -> str:
    """List the rows, newest first."""
    query = AuditQuery.of(request.args)
    rows = latchkey().store.audit.page(query.filter, ROWS_OF_A_PAGE + 1, query.before)
    return render_template(
        "audit.html",
        query=query,
        entries=rows[:ROWS_OF_A_PAGE],
        older=rows[ROWS_OF_A_PAGE - 1].number if len(rows) > ROWS_OF_A_PAGE else None,
        actions=[action.value for action in Action],
    )


@audit.get("/export")
def export() -> Response:
    """Export the filtered rows as JSON lines, oldest first.

    Rows are read while the client receives them. Each export occupies a thread, so exports are
    limited to half of the threads.
    """
    query = AuditQuery.of(request.args)
    exports: BoundedSemaphore = current_app.extensions["exports"]
    if not exports.acquire(blocking=False):
        raise ExportsBusy
    return Response(
        Export(latchkey().store.audit.entries(query.filter), exports.release),
        content_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="latchkey-audit.jsonl"'},
    )


@audit.post("/verify")
def verify() -> Response:
    """Verify the complete log, and show which rows were changed, moved, inserted or removed."""
    return page("audit_verified.html", found=latchkey().store.audit.verify())


class Export:
    """The blocks of an export. The first block is read immediately, so that an error gets a page.

    ``closed`` is called once, when the export ends or is aborted.
    """

    def __init__(self, entries: Iterator[AuditRow], closed: Callable[[], None]) -> None:
        self._closed: Callable[[], None] | None = closed
        try:
            blocks = _blocks(entries)
            self._blocks = chain([next(blocks, b"")], blocks)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        """Called by the server after the last block, or when the client disconnects."""
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


def _blocks(entries: Iterator[AuditRow]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    for entry in entries:
        lines.append(json.dumps(entry.json_fields, ensure_ascii=False).encode() + b"\n")
        size += len(lines[-1])
        if size >= _BLOCK:
            yield b"".join(lines)
            lines.clear()
            size = 0
    yield b"".join(lines)
