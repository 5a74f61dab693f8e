"""Reconciling a restored PostgreSQL database with newer knowledge, while no service runs."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from latchkey.box.segment import without_service
from latchkey.config import Settings
from latchkey.credentials.audit import AuditEvent, AuditRow, Head
from latchkey.credentials.audit_check import verify
from latchkey.credentials.audit_findings import messages
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import are_looser
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.scopes import lies_within
from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError, LatchkeyError, StoreError
from latchkey.key_files import load_seal
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.carrying.carried import Carried
from latchkey.store.database_urls import database_of, with_database
from latchkey.store.lifecycle import Database
from latchkey.store.reconciling import ReconcileRules, plan, reconcile
from latchkey.store.sqlite.backup import BackupFailed, back_up, check_backup
from latchkey.store.sqlite.location import database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey_service.command_user import command_line_user
from latchkey_service.restore_rows import restore_event
from latchkey_service.running_boxes import is_same, without_boxes

_PATIENCE = 300.0
_SAME = "nothing was changed: the URL names the database in use; name the previous one"


class ReconcileFailed(LatchkeyError):
    """Nothing was reconciled; the database is unchanged."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The result: what was taken over, and the database that it was taken from, as shown."""

    carried: Carried
    former: str


class ReconcileQuestions(Protocol):
    """The confirmations. Each method returns to continue, or raises to cancel."""

    def begin(self, carried: Carried, database: str, former: str) -> None:
        """Confirm the plan: what will be taken over."""

    def findings(self, messages: list[str]) -> None:
        """Confirm although the audit log, as it would be, has findings."""


def reconcile_database(settings: Settings, newer: str, questions: ReconcileQuestions) -> Reconciled:
    """Apply to the database in use the restrictions that a newer one knows.

    ``newer`` is the URL of another database, or the file of a backup. The rules are those of
    ``latchkey restore``. Raises ServiceUnreachable while a service uses either, ReconcileFailed,
    NothingNewer, BackupFailed and ConfigurationError; then nothing was changed.
    """
    database = database_of(settings)
    database.require()
    seal = load_seal(settings)
    with _former(settings, newer) as former, without_service(settings):
        if former.identity == database.identity:
            raise ConfigurationError(_SAME)
        try:
            database.prepare()
            with (
                closing(
                    database.open_store(seal=seal, write_timeout=_PATIENCE, is_alone=True)
                ) as restored,
                closing(former.open_store(write_timeout=_PATIENCE, is_alone=True)) as known,
            ):
                if restored.boxes is None:
                    raise ReconcileFailed(
                        f"the database {database.shown} is not PostgreSQL: latchkey restore "
                        "restores a backup of SQLite, and applies the same rules"
                    )
                if is_same(restored, known):
                    raise ConfigurationError(_SAME)
                with without_boxes((database, restored), (former, known)):
                    findings: list[str] = []

                    def judge(rows: Iterable[AuditRow]) -> None:
                        findings.extend(messages(verify(seal.key, rows, _head(seal)).findings))

                    rules = ReconcileRules(
                        lies_within, are_looser, Author(command_line_user()), utc_now()
                    )
                    questions.begin(
                        plan(restored, known, rules, judge), database.shown, _shown(former, newer)
                    )
                    if findings:
                        questions.findings(findings)

                    def record(carried: Carried, rows: int) -> AuditEvent:
                        given: dict[str, object] = {"reconciled_with": _shown(former, newer)}
                        return restore_event(seal, given, carried, findings, rows)

                    outcome = reconcile(restored, known, rules, record)
                    carried = Publisher(restored.audit).publish(outcome)
        except StoreError as error:
            raise ReconcileFailed(f"nothing was changed: {error.detail}") from None
        except HeadUnusable as error:
            raise ConfigurationError(
                f"reconciled, but {error}; to correct this, run: latchkey audit accept"
            ) from None
    return Reconciled(carried, _shown(former, newer))


@contextmanager
def _former(settings: Settings, newer: str) -> Iterator[Database]:
    """The database with newer knowledge; a backup is copied, and its copy migrated."""
    if "://" in newer:
        former = database_of(with_database(settings, newer))
        former.require()
        yield former
        return
    backup = Path(newer)
    check_backup(backup)
    with tempfile.TemporaryDirectory(prefix="latchkey-reconcile-") as directory:
        draft = Path(directory) / "backup.db"
        try:
            back_up(backup, draft)
        except sqlite3.Error as error:
            raise BackupFailed(f"{backup} cannot be read: {error}") from None
        migrate(database_url(draft))
        yield database_of(with_database(settings, database_url(draft)))


def _shown(former: Database, newer: str) -> str:
    """A name without a password; a backup has the name of its file, not that of the copy."""
    return former.shown if "://" in newer else Path(newer).name


def _head(seal: Seal) -> Head | str:
    try:
        return seal.head.read()
    except HeadUnusable as error:
        return str(error)
