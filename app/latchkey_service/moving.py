"""Copying an instance's database into an empty one of another kind, while no service runs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from latchkey.box.segment import without_service
from latchkey.config import Settings
from latchkey.credentials.audit import Action, AuditEvent, AuditRow
from latchkey.credentials.audit_check import LOG_GOES_ON, verify
from latchkey.credentials.audit_findings import Finding, messages
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError, ServiceUnreachable, StoreError
from latchkey.key_files import load_seal
from latchkey.preparing import rechain_log
from latchkey.store.audit_head import HeadUnusable
from latchkey.store.copying import CopyFailed, copy_database, require_empty
from latchkey.store.database_urls import database_of, with_database
from latchkey_service.command_user import command_line_user
from latchkey_service.running_boxes import is_same, running_boxes, without_boxes

# Problems of the head file, which is replaced; the rows themselves are the same in both databases.
_OF_THE_HEAD = ("head", "cut off")
_PATIENCE = 300.0
_SAME = "nothing was copied: both URLs name the same database"


@dataclass(frozen=True, slots=True)
class Moved:
    """The result: the two databases as they may be shown, and the rows of each table."""

    source: str
    target: str
    rows: dict[str, int]


class CopyQuestions(Protocol):
    """The confirmations of a copy. Each method returns to continue, or raises to cancel."""

    def begin(self, source: str, target: str) -> None:
        """Confirm the copy. No service runs, and the target is empty."""

    def findings(self, messages: list[str]) -> None:
        """Confirm although the audit log has findings."""

    def progress(self, table: str, rows: int) -> None:
        """Called with the number of rows of a table that are copied."""


def move_database(
    settings: Settings, source_url: str, target_url: str, questions: CopyQuestions
) -> Moved:
    """Copy all tables into an empty database, verify the audit log in both, and record it.

    The source is migrated to the current revision first, and otherwise unchanged. A failure leaves
    the target empty. Raises ServiceUnreachable while a service uses either, and after the copy if
    one has used the source meanwhile; CopyFailed and ConfigurationError.
    """
    before, after = (with_database(settings, url) for url in (source_url, target_url))
    source, target = database_of(before), database_of(after)
    if source.identity == target.identity:
        raise ConfigurationError(_SAME)
    if not source.exists():
        raise ConfigurationError(f"nothing was copied: there is no database {source.shown}")
    seal = load_seal(settings)
    with without_service(after), without_service(before) as persist:
        try:
            source.prepare()
            rechain_log(before, seal)
            persist()
            target.prepare()
            with (
                closing(
                    source.open_store(seal=seal, write_timeout=_PATIENCE, is_alone=True)
                ) as read,
                closing(
                    target.open_store(seal=seal, write_timeout=_PATIENCE, is_alone=True)
                ) as written,
            ):
                if is_same(read, written):
                    raise ConfigurationError(_SAME)
                with without_boxes((source, read), (target, written)):
                    require_empty(written)
                    questions.begin(source.shown, target.shown)
                    found = read.audit.verify().findings
                    if found:
                        questions.findings(messages(found))

                    def judge(rows: Iterable[AuditRow]) -> None:
                        _compare(found, verify(seal.key, rows, None).findings)

                    def record(rows: dict[str, int]) -> AuditEvent:
                        detail: dict[str, object] = {"rows": rows, "log": LOG_GOES_ON}
                        if found:
                            detail["findings"] = messages(found)
                        return AuditEvent(
                            utc_now(), Action.STORE_COPY, command_line_user(), detail=detail
                        )

                    outcome = copy_database(read, written, record, judge, questions.progress)
                    rows = Publisher(written.audit).publish(outcome)
                    # A service that was starting already does not wait for the end of the copy.
                    if names := running_boxes(read):
                        raise ServiceUnreachable(
                            f"copied, but the service has started on {names} with {source.shown}: "
                            "stop it there; changes that were made there are not in the copy"
                        )
        except StoreError as error:
            raise CopyFailed(f"nothing was copied: {error.detail}") from None
        except HeadUnusable as error:
            raise ConfigurationError(
                f"copied, but {error}; to correct this, run: latchkey audit accept"
            ) from None
    return Moved(source.shown, target.shown, rows)


def _compare(before: list[Finding], after: list[Finding]) -> None:
    """Raise CopyFailed unless the copied log has the findings of the original one."""
    expected = [one for one in before if one.problem not in _OF_THE_HEAD]
    if after != expected:
        raise CopyFailed(
            "nothing was copied: the audit log of the copy does not have the findings of the "
            f"original: {'; '.join(messages(after)) or 'it has none'}"
        )
