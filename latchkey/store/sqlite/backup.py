"""Backups of a database, created and checked while it is in use.

SQLite's backup API copies one committed state, page by page. A copy is a single file without a log
beside it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from latchkey.errors import LatchkeyError
from latchkey.files.shared_places import UnsafeFile, create_private, sync_directory
from latchkey.store.revisions import newest_revision
from latchkey.store.sqlite.migrate import revisions_of
from latchkey.store.sqlite.opening import open_database, rows_of

_BUSY_TIMEOUT = 30.0


class BackupFailed(LatchkeyError):
    """A copy could not be made, or failed its check; nothing was changed."""


def back_up(database: Path, copy: Path, *, owner: int | None = None) -> None:
    """Copy a database to a new file, mode 0600, durably, and check it; raises BackupFailed.

    The file must not exist. It is complete when it gets its name. If root creates it, it belongs to
    ``owner``.
    """
    if not copy.name:
        raise BackupFailed(f"{copy} is not the name of a file")
    draft = copy.with_name(f".{copy.name}.draft-{secrets.token_hex(8)}")
    try:
        descriptor = create_private(draft)
        try:
            if copy.exists():
                raise FileExistsError
            with closing(connect(database, "ro")) as source, closing(connect(draft)) as target:
                source.backup(target)
                # A single file, so that reading it needs no write permission in its directory.
                target.execute("PRAGMA journal_mode = DELETE")
                require_whole(target, database)
            if owner is not None and os.geteuid() == 0:
                # Only now: until then, the name of a file that belongs to root cannot lead to
                # another file.
                os.fchown(descriptor, owner, -1)
            os.fsync(descriptor)
            # A link, not a rename: it never replaces a file that was created in the meantime.
            os.link(draft, copy)
            sync_directory(copy.absolute().parent)
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise BackupFailed(f"{copy} already exists; choose another file") from None
    except UnsafeFile as error:
        raise BackupFailed(f"{error.filename}: {error.strerror}") from None
    except OSError as error:
        raise BackupFailed(f"{copy}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise BackupFailed(f"{database} cannot be copied: {error}") from None


def check_backup(copy: Path) -> None:
    """Raise BackupFailed unless the file is a complete Latchkey database of a known version."""
    try:
        with closing(connect(copy, "ro")) as connection:
            require_whole(connection, copy)
            revisions = revisions_of(connection)
    except OSError as error:
        raise BackupFailed(f"{error.filename or copy}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise BackupFailed(f"{copy} is not a backup: {error}") from None
    if len(revisions) != 1 or revisions[0] > newest_revision():
        raise BackupFailed(f"{copy} is of another version")


def connect(path: Path, mode: Literal["ro", "rw"] = "rw") -> sqlite3.Connection:
    """A connection of the sqlite3 module to an existing file, in autocommit.

    Raises as ``open_database``.
    """
    return open_database(path, sqlite3.Connection, timeout=_BUSY_TIMEOUT, mode=mode)


def require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise BackupFailed if SQLite finds the database damaged."""
    (found,) = rows_of(connection, "PRAGMA integrity_check(1)")
    if found["integrity_check"] != "ok":
        raise BackupFailed(f"{path} is damaged: {found['integrity_check']}")
