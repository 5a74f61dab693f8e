"""Restoring a backup without undoing revocations and other restrictions made since.

The new database is created beside the previous one. It takes over from the previous one the
accounts, the revocations and expiries of keys, the later rows of the audit log, and which
administrators may no longer sign in. Only then does it replace the previous one, in one step.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from latchkey.credentials.times import to_milliseconds
from latchkey.errors import ConfigurationError, LatchkeyError
from latchkey.files.shared_places import UnsafeFile, keep_owner, open_regular, sync_directory
from latchkey.store.carrying.administrators import end_sessions
from latchkey.store.carrying.carried import Carried
from latchkey.store.carrying.database import FORMER, carry_over
from latchkey.store.carrying.keys import ConditionsLooser, ScopesWithin
from latchkey.store.revisions import newest_revision
from latchkey.store.sqlite.backup import BackupFailed, connect, require_whole
from latchkey.store.sqlite.dialect import SqliteDialect
from latchkey.store.sqlite.location import sqlite_uri
from latchkey.store.sqlite.migrate import (
    active_by_derivation,
    refuse_what_is_broken,
    revisions_of,
)
from latchkey.store.sqlite.opening import rows_of

# Failures that are independent of a file's content.
_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_INTERRUPT,
)
_FORMER_NUMBERS = text("SELECT name, seq FROM former.sqlite_sequence")


class FormerUnreadable(LatchkeyError):
    """The database in use is missing or cannot be read: its revocations are unknown."""


def require_readable(former: Path, restored: Path) -> None:
    """Raise FormerUnreadable unless a database can be opened and read, and has a known revision.

    ``restored`` has the current revision; the previous one may have an earlier one. Raises
    sqlite3.Error or OSError for failures that are independent of its content, such as a lock.
    """
    try:
        refuse_what_is_broken(former)
        with closing(connect(former)) as connection:
            require_whole(connection, former)
            revisions = revisions_of(connection)
            if len(revisions) != 1 or revisions[0] > newest_revision():
                raise FormerUnreadable(f"{former} is of another version")
            if revisions == [newest_revision()]:
                connection.execute("ATTACH ? AS restored", (sqlite_uri(restored),))
                for table in FORMER:
                    columns = ", ".join(_columns(connection, "restored", table))
                    query = f"SELECT {columns} FROM main.{table} LIMIT 1"  # noqa: S608 - own names
                    connection.execute(query)
    except FileNotFoundError:
        raise FormerUnreadable(f"there is no {former}") from None
    except (PermissionError, UnsafeFile):
        raise
    except (OSError, ConfigurationError, BackupFailed) as error:
        raise FormerUnreadable(str(error)) from None
    except sqlite3.Error as error:
        # Python's own errors, such as those for invalid text, have no code.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise
        raise FormerUnreadable(f"{former}: {error}") from None


def carry_over_from(
    former: Path,
    restored: Path,
    lies_within: ScopesWithin,
    are_looser: ConditionsLooser,
    now: datetime,
    *,
    adopts_instance: bool = False,
) -> Carried:
    """``carry_over`` from the previous database to the restored one, in one transaction.

    Both have the current revision, and no other process uses the restored one.
    Raises sqlite3.Error.
    """

    def both() -> sqlite3.Connection:
        connection = connect(restored)
        # Text that was put there by other means is not a scope, and not a reason to stop.
        connection.text_factory = _readable
        connection.execute("ATTACH ? AS former", (sqlite_uri(former),))
        for table in FORMER:
            view = f"CREATE TEMP VIEW former_{table} AS SELECT * FROM former.{table}"  # noqa: S608
            connection.execute(view)
        return connection

    with _transaction(both) as connection:
        numbers = {row.name: row.seq for row in connection.execute(_FORMER_NUMBERS)}
        return carry_over(
            *(connection, SqliteDialect(), numbers, lies_within, are_looser, now),
            adopts_instance=adopts_instance,
        )


def has_accounts(database: Path) -> bool:
    """Whether a database has accounts, before it is migrated; raises sqlite3.Error."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'account'"
    with closing(connect(database)) as connection:
        return bool(rows_of(connection, query))


def active_keys(restored: Path, now: datetime) -> dict[str, int]:
    """The number of active credentials, by the derivation key that made them."""
    with closing(connect(restored)) as connection:
        return active_by_derivation(connection, to_milliseconds(now))


def end_all_sessions(restored: Path) -> None:
    """End all sessions of the console: sessions that were ended since must not come back."""
    with _transaction(lambda: connect(restored)) as connection:
        end_sessions(connection)


def put_in_place(restored: Path, database: Path, aside: Path) -> None:
    """Rename the previous database and its files, and give the restored one their name.

    The caller ensures that no other process uses them. At every moment one of the two is complete
    in its place. Raises OSError, and sqlite3.Error before anything is changed.
    """
    with closing(connect(restored)) as connection:
        # The content of its log is now in the file that gets the name.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if database.exists():
        try:
            with closing(connect(database)) as former:
                former.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            # It is damaged: its log is moved with it, unchanged.
            pass
        with open(open_regular(restored), "rb") as file:
            keep_owner(file.fileno(), database.stat())
        os.link(database, aside)
    for suffix in ("-wal", "-shm"):
        beside = database.with_name(f"{database.name}{suffix}")
        if beside.exists():
            beside.rename(aside.with_name(f"{aside.name}{suffix}"))
    restored.rename(database)
    sync_directory(database.parent)


@contextmanager
def _transaction(opened: Callable[[], sqlite3.Connection]) -> Iterator[Connection]:
    """A transaction that has the write lock; raises sqlite3.Error."""
    # The driver's own transactions are off; the connection begins by itself.
    engine = create_engine("sqlite://", creator=opened, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from None
        raise
    except (TypeError, ValueError) as error:
        # A value that was written by other means: a limit that is left out would be none.
        raise sqlite3.DataError(f"a row cannot be read: {error}") from None


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    """The names of the columns of a table."""
    return [row["name"] for row in rows_of(connection, f"PRAGMA {schema}.table_info({table})")]


def _readable(text: bytes) -> str:
    return text.decode(errors="replace")
