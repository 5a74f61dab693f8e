"""Restoring a backup, while the service is stopped, without undoing revocations."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from latchkey.box.segment import without_service
from latchkey.config import Settings
from latchkey.credentials.audit import Head
from latchkey.credentials.audit_findings import messages
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import are_looser
from latchkey.credentials.importing import NO_DERIVATION_KEY
from latchkey.credentials.publishing import Made, Outcome, Publisher, Refused
from latchkey.credentials.scopes import lies_within
from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError
from latchkey.files.owner import require_replaceable
from latchkey.files.shared_places import make_directory, open_regular
from latchkey.key_files import load_derivation, load_seal
from latchkey.preparing import rechain_log
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.carrying.carried import Carried
from latchkey.store.database_urls import database_at, database_of
from latchkey.store.sqlite.backup import BackupFailed, back_up, check_backup
from latchkey.store.sqlite.location import BESIDE, database_path, database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey.store.sqlite.restore import (
    FormerUnreadable,
    active_keys,
    carry_over_from,
    end_all_sessions,
    has_accounts,
    put_in_place,
    require_readable,
)
from latchkey_service.command_user import command_line_user
from latchkey_service.restore_rows import restore_event

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore.

    ``carried``: the state taken over from the previous database, None if it could not be read.
    ``aside``: the path of the previous database, None if there was none.
    """

    carried: Carried | None
    aside: Path | None


class Questions(Protocol):
    """The confirmations of a restore. Each method returns to continue, or raises to cancel."""

    def begin(self) -> None:
        """Confirm the restore. The backup is intact, and no service runs."""

    def unknown(self, reason: str) -> None:
        """Confirm although the database in use cannot be read."""

    def findings(self, messages: list[str]) -> None:
        """Confirm although the audit log of the database in use has findings."""

    def not_vouched(self, keys: int, active: int, reason: str) -> None:
        """Confirm although the service would refuse ``keys`` of the ``active`` keys."""


def restore(settings: Settings, backup: Path, questions: Questions) -> Restored:
    """Replace the database with a backup; the previous database stays beside it, renamed.

    Restrictions since the backup stay in effect: revocations, rotations, earlier expiries, removed
    scopes, disabled and erased accounts. The ``questions`` are asked before anything is changed.
    Findings in the audit log are recorded in a row. A failure leaves everything unchanged. Raises
    ServiceUnreachable while a service runs, BackupFailed, and ConfigurationError.
    """
    database = database_path(settings.database_url)
    require_replaceable(database)
    seal = load_seal(settings)
    check_backup(backup)
    _make_directory_of(database)
    with without_service(settings):
        questions.begin()
        draft = database.with_name(f"{database.name}.restoring-{secrets.token_hex(4)}")
        try:
            back_up(backup, draft)
            adopts_instance = not has_accounts(draft)
            migrate(database_url(draft))
            findings: list[str] = []
            carried = None
            if _is_readable(database, draft, questions):
                # The database in use may have an earlier revision.
                migrate(settings.database_url)
                rechain_log(settings, seal)
                # The restored log continues this one, so missing rows must be found now.
                findings = _verify(settings, seal)
                if findings:
                    questions.findings(findings)
                carried = carry_over_from(
                    *(database, draft, lies_within, are_looser, utc_now()),
                    adopts_instance=adopts_instance,
                )
                _erase_again(draft, carried, seal)
            _ask_about_keys(settings, draft, questions)
            end_all_sessions(draft)
            written = _write_down(draft, backup, carried, findings, seal)
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            aside = database.with_name(f"{database.name}.before-restore-{moment}")
            there = database.exists()
            put_in_place(draft, database, aside)
        except sqlite3.Error as error:
            # Never discard the state of the database in use; the user can move it away and retry.
            raise BackupFailed(
                f"nothing was restored, and {database} is unchanged: {error}"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{error.filename or database}: {error.strerror}") from None
        finally:
            for suffix in ("", *BESIDE, ".migration-lock"):
                draft.with_name(f"{draft.name}{suffix}").unlink(missing_ok=True)
        _publish(settings, seal, written)
    return Restored(carried, aside if there else None)


def _make_directory_of(database: Path) -> None:
    """Create the directory of the database, which is missing on a new machine."""
    try:
        make_directory(database.parent)
    except OSError as error:
        raise ConfigurationError(
            f"the directory of the database, {database.parent}, cannot be created: {error.strerror}"
        ) from None


def _ask_about_keys(settings: Settings, draft: Path, questions: Questions) -> None:
    """Ask if the service would refuse active keys, because no listed derivation key made them."""
    try:
        listed = load_derivation(settings).ids
        reason = "their derivation keys are not listed"
    except ConfigurationError as error:
        listed, reason = frozenset(), str(error)
    active = active_keys(draft, utc_now())
    # Imported keys have no derivation key.
    ended = sum(count for key, count in active.items() if key not in listed | {NO_DERIVATION_KEY})
    if ended:
        questions.not_vouched(ended, sum(active.values()), reason)


def _is_readable(database: Path, draft: Path, questions: Questions) -> bool:
    try:
        require_readable(database, draft)
    except FormerUnreadable as error:
        questions.unknown(str(error))
        return False
    return True


def _verify(settings: Settings, seal: Seal) -> list[str]:
    """The findings in the log of the database in use, as messages."""
    with closing(database_of(settings).open_store(seal=seal)) as store:
        return messages(store.audit.verify().findings)


def _erase_again(draft: Path, carried: Carried, seal: Seal) -> None:
    """Erase the accounts that the backup would bring back, and record it in the restored log."""
    if not carried.accounts.erased:
        return
    with closing(database_at(database_url(draft)).open_store(seal=seal)) as store:
        # A backup of version 0.2 whose log does not continue the previous one.
        _result_of(store.audit.rechain(detached=True))
        for account_id in carried.accounts.erased:
            author = Author(command_line_user())
            _result_of(store.accounts.erase(account_id, utc_now(), author))
        store.scrub()


def _write_down(
    draft: Path, backup: Path, carried: Carried | None, findings: list[str], seal: Seal
) -> Made[Head]:
    """Add a row to the restored log. It records the previous head, the end of the previous log."""
    given: dict[str, object] = {"backup_sha256": _digest(backup)}
    with closing(database_at(database_url(draft)).open_store(seal=seal)) as store:
        # A backup of version 0.2 whose log does not continue the previous one.
        _result_of(store.audit.rechain(detached=True))
        record = restore_event(seal, given, carried, findings, store.audit.last().number)
        written = store.audit.record_new_end(lambda: record)
    if isinstance(written, Refused):
        raise written.error
    return written


def _result_of(outcome: Outcome[T]) -> T:
    """The result of a change of the draft; a failed one needs no publication: it is deleted."""
    if isinstance(outcome, Refused):
        raise outcome.error
    return outcome.result


def _publish(settings: Settings, seal: Seal, written: Made[Head]) -> None:
    """Write the head of the restored log, which ends with the row of this restore."""
    with closing(database_of(settings).open_store(seal=seal)) as store:
        try:
            Publisher(store.audit).publish(written)
        except HeadUnusable as error:
            raise ConfigurationError(
                f"restored, but {error}; to correct this, run: latchkey audit accept"
            ) from None


def _digest(path: Path) -> str:
    with open(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
