"""Restoring a backup: with the service stopped, and nothing that was ended comes back."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from latchkey.box.segment import without_service
from latchkey.config import Settings
from latchkey.credentials.audit import Action, AuditEvent, Head
from latchkey.credentials.audit_check import LOG_GOES_ON, messages
from latchkey.credentials.importing import NO_DERIVATION_KEY
from latchkey.credentials.publishing import Made, Publisher, Refused
from latchkey.credentials.scopes import lies_within
from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError
from latchkey.files.owner import require_replaceable
from latchkey.files.shared_places import open_regular
from latchkey.key_files import load_derivation, load_seal
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.database_urls import database_at
from latchkey.store.sqlite.backup import BackupFailed, back_up, check_backup
from latchkey.store.sqlite.location import BESIDE, database_path, database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey.store.sqlite.restore import (
    Carried,
    FormerUnreadable,
    active_keys,
    carry_over,
    end_sessions,
    put_in_place,
    require_readable,
)
from latchkey_service.command_user import command_line_user


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: what it took over (None: there was nothing), and where the former is."""

    carried: Carried | None
    aside: Path | None


class Questions(Protocol):
    """What a restore asks before it changes anything. Each returns to go on, or raises."""

    def begin(self) -> None:
        """Whether to restore at all: the backup is whole, and no service runs."""

    def unknown(self, reason: str) -> None:
        """Although the database in use cannot be read."""

    def findings(self, messages: list[str]) -> None:
        """Although the audit log of the database in use is not whole, for these reasons."""

    def not_vouched(self, keys: int, active: int, reason: str) -> None:
        """Although of so many active keys some were made with no key that is listed."""


def restore(settings: Settings, backup: Path, questions: Questions) -> Restored:
    """Put a backup in the database's place; the former one stays beside it under another name.

    What was revoked, rotated, or given a sooner end or fewer scopes since the backup stays so.
    The ``questions`` are asked before anything is changed; what is wrong with the audit log is
    written down. Any other failure leaves all as it was. Raises ServiceUnreachable while a service
    runs, BackupFailed, and ConfigurationError.
    """
    database = database_path(settings.database_url)
    require_replaceable(database)
    seal = load_seal(settings)
    check_backup(backup)
    with without_service(settings):
        questions.begin()
        draft = database.with_name(f"{database.name}.restoring-{secrets.token_hex(4)}")
        try:
            back_up(backup, draft)
            migrate(database_url(draft))
            findings: list[str] = []
            carried = None
            if _is_readable(database, draft, questions):
                # It may be of an older version than the program.
                migrate(settings.database_url)
                # Its log goes on, with a head that is true of it: a cut would be covered.
                findings = _verify(settings, seal)
                if findings:
                    questions.findings(findings)
                carried = carry_over(draft, database, lies_within, utc_now())
            _ask_about_keys(settings, draft, questions)
            end_sessions(draft)
            written = _write_down(draft, backup, carried, findings, seal)
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            aside = database.with_name(f"{database.name}.before-restore-{moment}")
            there = database.exists()
            put_in_place(draft, database, aside)
        except sqlite3.Error as error:
            # What the database in use knows is not given up for it: that is for who moves it away.
            raise BackupFailed(
                f"nothing was restored, and {database} is as it was: {error}"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{error.filename or database}: {error.strerror}") from None
        finally:
            for suffix in ("", *BESIDE, ".migration-lock"):
                draft.with_name(f"{draft.name}{suffix}").unlink(missing_ok=True)
        _publish(settings, seal, written)
    return Restored(carried, aside if there else None)


def _ask_about_keys(settings: Settings, draft: Path, questions: Questions) -> None:
    """Ask where the service would refuse active keys: no listed derivation key made them."""
    try:
        listed, reason = load_derivation(settings).ids, "of other derivation keys than those listed"
    except ConfigurationError as error:
        listed, reason = frozenset(), str(error)
    active = active_keys(draft, utc_now())
    # No key made what was imported.
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
    """What is wrong with the log of the database in use, in words."""
    with closing(database_at(settings.database_url).open_store(seal=seal)) as store:
        return messages(store.audit.verify().findings)


def _write_down(
    draft: Path, backup: Path, carried: Carried | None, findings: list[str], seal: Seal
) -> Made[Head]:
    """Add a row to the restored log: the head says how far the former one went."""
    try:
        head: Head | str = seal.head.read()
    except HeadUnusable as error:
        head = str(error)
    detail: dict[str, object] = {
        "backup_sha256": _digest(backup),
        "head": head if isinstance(head, str) else head.number,
        "log": LOG_GOES_ON if carried is not None and carried.audited else "begins at the backup",
    }
    if findings:
        detail["findings"] = findings
    if carried is not None:
        detail |= {"ended": len(carried.ended), "rotated": len(carried.rotated)}
        detail |= {"narrowed": len(carried.narrowed)}
        detail |= {"kept": carried.kept, "lost": carried.lost, "kept_out": carried.kept_out}
    with closing(database_at(database_url(draft)).open_store(seal=seal)) as store:
        detail["rows"] = store.audit.last().number
        record = AuditEvent(utc_now(), Action.STORE_RESTORE, command_line_user(), detail=detail)
        written = store.audit.record_new_end(lambda: record)
    if isinstance(written, Refused):
        # Nothing has to be published of it: the draft goes away.
        raise written.error
    return written


def _publish(settings: Settings, seal: Seal, written: Made[Head]) -> None:
    """Have the head be that of the restored log, which the row above tells of."""
    with closing(database_at(settings.database_url).open_store(seal=seal)) as store:
        try:
            Publisher(store.audit).publish(written)
        except HeadUnusable as error:
            raise ConfigurationError(f"restored, but {error}: latchkey audit accept") from None


def _digest(path: Path) -> str:
    with open(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
