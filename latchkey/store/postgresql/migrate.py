"""Migration to the current revision: in one transaction, under a lock, in a child process.

The child opens the connections, so that none crosses the fork of the workers. Boxes that start at
the same time take turns by an advisory lock.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from latchkey.errors import ConfigurationError
from latchkey.files.owner import as_caller
from latchkey.store.child_report import report, report_of
from latchkey.store.lifecycle import MigrationReport
from latchkey.store.postgresql.connecting import is_pooled
from latchkey.store.postgresql.errors import reason_of
from latchkey.store.postgresql.location import Location
from latchkey.store.postgresql.own_tables import (
    home_of,
    other_revision,
    revisions_of,
    row_of,
)
from latchkey.store.protocols import BEHIND_POOLER
from latchkey.store.revisions import newest_revision

PREPARING = 0x6C61746368_02
"""The key of the advisory lock of processes that prepare the database, on all boxes."""

_LOCK_PATIENCE = 60.0
# No limit of the role or the server may end a migration, or release the lock before its end.
_LOCK = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    f"SET LOCAL lock_timeout = {_LOCK_PATIENCE * 1000:.0f};"
    f"SELECT pg_advisory_xact_lock({PREPARING})"
)
# A process of the former version that was stopped meanwhile must not use these connections when it
# continues. Processes that wait for the advisory lock are of this version.
_END_FORMER = f"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity AS activity
    WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
    AND application_name = current_setting('application_name') AND backend_start < %s
    AND NOT EXISTS (
        SELECT FROM pg_locks WHERE pg_locks.pid = activity.pid AND locktype = 'advisory'
        AND classid::bigint = {PREPARING >> 32} AND objid::bigint = {PREPARING & 0xFFFFFFFF}
    )
""".encode()  # noqa: S608 - nothing but constants
_ACTIVE = b"""
    SELECT derivation_id, count(*) FROM credential
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)
    GROUP BY derivation_id
"""


def migrate_in_child(location: Location) -> MigrationReport:
    """Migrate in a fresh process and wait for it; raises ConfigurationError with its reason."""
    conninfo = location.conninfo()
    with as_caller():
        child = subprocess.run(
            # -P: do not load modules from the working directory.
            [sys.executable, "-P", "-m", "latchkey.store.postgresql.migrate"],
            # Not by arguments or the environment, since it may have a password.
            input=conninfo,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    return report_of(child)


def migrate(conninfo: str) -> MigrationReport:
    """Migrate the database to the current revision, in this process; see the module's docstring.

    ``conninfo`` has the parameters of a connection. Raises ConfigurationError.
    """
    try:
        with preparing(conninfo) as connection:
            _require_utf8(connection)
            home, revisions = home_of(connection), revisions_of(connection)
            if home is not None and (len(revisions) != 1 or revisions[0] > newest_revision()):
                raise ConfigurationError(other_revision(revisions))
        since = None
        if revisions != [newest_revision()]:
            from latchkey.store.postgresql.upgrade import upgrade

            since = upgrade(conninfo, _LOCK, home)
        created = not revisions
        with connected(conninfo) as connection:
            if since is not None and not is_pooled(connection):
                _end_former(connection, since)
            return MigrationReport(created, *_found(connection), _warnings(connection))
    except psycopg.Error as error:
        raise ConfigurationError(reason_of(error)) from None


@contextmanager
def connected(conninfo: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """A connection in autocommit for the block; raises psycopg.Error."""
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
        yield connection


@contextmanager
def preparing(conninfo: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """A connection in a transaction that keeps others from preparing the database meanwhile.

    Raises ConfigurationError if another process takes longer than a migration, and psycopg.Error.
    """
    with connected(conninfo) as connection:
        try:
            connection.execute(f"BEGIN; {_LOCK}".encode())
        except psycopg.errors.LockNotAvailable:
            raise ConfigurationError(
                "another process, perhaps on another box, has been migrating, copying or "
                f"reconciling the database for {_LOCK_PATIENCE:.0f} s: try again when it has ended"
            ) from None
        try:
            yield connection
        finally:
            connection.rollback()


def _end_former(connection: psycopg.Connection[TupleRow], since: datetime) -> None:
    """End the connections of this role that were opened before a time, if that is permitted.

    Otherwise, and for other roles, the upkeep of the processes finds the new revision.
    """
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        # A setting of the role may have changed to another one, whose sessions they are not.
        connection.execute(b"SET LOCAL ROLE NONE")
        connection.execute(_END_FORMER, (since,))


def _require_utf8(connection: psycopg.Connection[TupleRow]) -> None:
    (encoding,) = row_of(connection, b"SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database has the encoding {encoding}; create it with UTF8: "
            "createdb --encoding=UTF8 --template=template0"
        )


def _found(connection: psycopg.Connection[TupleRow]) -> tuple[dict[str, int], int]:
    """The active credentials by the key that made them, and the audit log's last number."""
    active = connection.execute(_ACTIVE, (time.time_ns() // 1_000_000,)).fetchall()
    (last,) = row_of(connection, b"SELECT coalesce(max(number), 0) FROM audit")
    return dict(active), last


def _warnings(connection: psycopg.Connection[TupleRow]) -> list[str]:
    """What may break a promise, or costs something, as the database is run."""
    found = []
    (standbys,) = row_of(connection, b"SHOW synchronous_standby_names")
    if not standbys:
        found.append(
            "PostgreSQL has no synchronous standby (synchronous_standby_names is empty): after a "
            "failover, the last changes may be missing, and keys that were revoked may work again"
        )
    if is_pooled(connection):
        found.append(BEHIND_POOLER)
    return found


def main() -> int:
    """Run in the child: migrate the database on standard input, print the report as JSON."""
    return report(lambda: migrate(sys.stdin.read()))


if __name__ == "__main__":
    sys.exit(main())
