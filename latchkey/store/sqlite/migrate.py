"""Migration to the current revision: once, under a file lock, in a child process.

The child opens the connections, so that none crosses the fork of the workers. It also creates the
directory and the file if they are missing, switches the file to WAL, and counts the active
credentials for the report at the start.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from latchkey.errors import ConfigurationError
from latchkey.files.locks import LockHeld, lock_within
from latchkey.files.owner import acting_as_owner, as_caller
from latchkey.files.shared_places import (
    create_private,
    make_directory,
    open_lock,
    require_beside,
    sync_directory,
)
from latchkey.store.child_report import report, report_of
from latchkey.store.lifecycle import MigrationReport
from latchkey.store.revisions import newest_revision
from latchkey.store.sqlite.location import database_path
from latchkey.store.sqlite.opening import open_database, require_safe_files, rows_of
from latchkey.store.sqlite.pinned import is_sqlite

_URL_VARIABLE = "LATCHKEY_DATABASE_URL"
_BUSY_TIMEOUT = 30.0
_LOCK_PATIENCE = 60.0
_REVISIONS = "SELECT version_num FROM alembic_version"
_ACTIVE = """
    SELECT derivation_id, count(*) AS keys FROM credential
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)
    GROUP BY derivation_id
"""


def migrate_in_child(url: str) -> MigrationReport:
    """Migrate in a fresh process and wait for it; raises ConfigurationError with its reason."""
    database_path(url)
    # Run as the caller, who can access the interpreter; the child becomes the owner itself.
    with as_caller():
        child = subprocess.run(
            # -P: do not load modules from the working directory.
            [sys.executable, "-P", "-m", "latchkey.store.sqlite.migrate"],
            # Its output is read as UTF-8 in every locale.
            env={**os.environ, _URL_VARIABLE: url, "PYTHONIOENCODING": "utf-8:backslashreplace"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    return report_of(child)


def migrate(url: str) -> MigrationReport:
    """Migrate the database to the current revision, in this process; see the module's docstring.

    Raises ConfigurationError if the file or its directory cannot be created or used.
    """
    path = database_path(url)
    try:
        make_directory(path.parent)
        with database_lock(path):
            created = _create(path)
            refuse_what_is_broken(path)
            found = None if created else _found_if_current(path)
            if found is None:
                from latchkey.store.sqlite.upgrade import upgrade

                upgrade(path, busy_timeout=_BUSY_TIMEOUT)
                opened = open_database(path, sqlite3.Connection, timeout=_BUSY_TIMEOUT)
                with closing(opened) as connection:
                    found = _found(connection)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return MigrationReport(created, *found)


@contextmanager
def database_lock(path: Path) -> Iterator[None]:
    """Hold the migration lock; it is released when the process ends.

    Raises ConfigurationError if another process keeps it longer than a migration takes.
    """
    descriptor = open_lock(path.with_name(f"{path.name}.migration-lock"))
    try:
        lock_within(descriptor, _LOCK_PATIENCE)
        yield
    except LockHeld:
        raise ConfigurationError(
            f"{path}: another process has been preparing the database for {_LOCK_PATIENCE:.0f} s"
        ) from None
    finally:
        os.close(descriptor)


def _create(path: Path) -> bool:
    """Create an empty database file with mode 0600, durably; False if it exists."""
    try:
        os.close(create_private(path))
    except FileExistsError:
        return False
    sync_directory(path.parent)
    return True


def refuse_what_is_broken(path: Path) -> None:
    """Refuse a broken file before SQLite opens it: its log may still have the content.

    SQLite would delete the log of an empty file, and copy the log of any other file into it, even a
    log that another user put there. Raises ConfigurationError, and OSError if a file cannot be
    examined or trusted.
    """
    require_beside(path)
    require_safe_files(path)
    log = path.with_name(f"{path.name}-wal")
    if path.stat().st_size == 0:
        if log.exists():
            raise ConfigurationError(f"{path}: the file is empty, but {log.name} still exists")
    elif not is_sqlite(path):
        raise ConfigurationError(f"{path}: file is not a database")


def _found_if_current(path: Path) -> tuple[dict[str, int], int] | None:
    """The report for a database with the current revision; None if migrations may be needed.

    Faults of the database are left to the migrations. This uses SQLite alone, so most starts do not
    load Alembic or SQLAlchemy.
    """
    try:
        with closing(open_database(path, sqlite3.Connection, timeout=0)) as connection:
            revisions = revisions_of(connection)
            (mode,) = rows_of(connection, "PRAGMA journal_mode")
            if mode["journal_mode"] != "wal" or revisions != [newest_revision()]:
                return None
            return _found(connection)
    except sqlite3.DatabaseError:
        return None


def _found(connection: sqlite3.Connection) -> tuple[dict[str, int], int]:
    """The active credentials by the key that made them, and the audit log's last number."""
    (last,) = rows_of(connection, "SELECT coalesce(max(number), 0) AS number FROM audit")
    return active_by_derivation(connection, _now()), last["number"]


def revisions_of(connection: sqlite3.Connection) -> list[str]:
    """The revisions recorded in a database: one, if Latchkey made it."""
    return [str(row["version_num"]) for row in rows_of(connection, _REVISIONS)]


def active_by_derivation(connection: sqlite3.Connection, now: int) -> dict[str, int]:
    """The number of active credentials, by the derivation key that made them.

    ``now`` is in milliseconds since 1970, as are the times in the database.
    """
    active = rows_of(connection, _ACTIVE, (now,))
    return {row["derivation_id"]: row["keys"] for row in active}


def _now() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Run in the child: migrate the database of the environment, print the report as JSON."""
    return report(_migrate_as_owner)


def _migrate_as_owner() -> MigrationReport:
    url = os.environ[_URL_VARIABLE]
    with acting_as_owner(database_path(url)):
        return migrate(url)


if __name__ == "__main__":
    sys.exit(main())
