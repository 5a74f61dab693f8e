"""Putting a backup in a database's place, without undoing what has been ended since.

The new database is made beside the former one, and gets from it how keys have ended, what the
audit log says since, and who may no longer sign in. Only then it takes its name, in one step.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app.store.audit_head import sync_directory
from app.store.backup import connect, require_whole, uri_of

_REVOKE = """
    UPDATE credential SET revoked_at =
        (SELECT f.revoked_at FROM former.credential AS f WHERE f.api_key = credential.api_key)
    WHERE revoked_at IS NULL AND api_key IN
        (SELECT f.api_key FROM former.credential AS f WHERE f.revoked_at IS NOT NULL)
    RETURNING api_key
"""
_END_SOONER = """
    UPDATE credential SET (expires_at, rotated_to, original_expires_at) =
        (SELECT f.expires_at, f.rotated_to, f.original_expires_at
         FROM former.credential AS f WHERE f.api_key = credential.api_key)
    WHERE EXISTS (
        SELECT 1 FROM former.credential AS f
        WHERE f.api_key = credential.api_key AND f.expires_at IS NOT NULL
        AND (credential.expires_at IS NULL OR f.expires_at < credential.expires_at))
    RETURNING api_key
"""
_SCOPES = """
    SELECT c.api_key, c.scopes, f.scopes FROM main.credential AS c
    JOIN former.credential AS f ON f.api_key = c.api_key
    WHERE f.scopes <> c.scopes ORDER BY c.id
"""
# Keys that the backup lacks: those that have ended, or a pair could be registered once more; and
# the successors of others, which are all that their clients have.
_CARRIED = """
    SELECT {columns} FROM former.credential
    WHERE api_key NOT IN (SELECT api_key FROM main.credential)
    AND (revoked_at IS NOT NULL OR expires_at IS NOT NULL OR api_key IN
        (SELECT rotated_to FROM former.credential WHERE rotated_to IS NOT NULL))
    ORDER BY id
"""
_LOST = """
    SELECT count(*) FROM former.credential
    WHERE api_key NOT IN (SELECT api_key FROM main.credential)
"""
_KEEP_OUT = """
    UPDATE administrator SET (password_hash, disabled_at) =
        (SELECT f.password_hash, coalesce(f.disabled_at, administrator.disabled_at)
         FROM former.administrator AS f WHERE f.name = administrator.name)
    WHERE name IN (SELECT f.name FROM former.administrator AS f)
"""

ScopesWithin = Callable[[Collection[str], Collection[str]], bool]
"""Whether the first scopes allow nothing that the second do not."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a restored database took over from the former one.

    ``ended`` are keys that would otherwise have come back, or ended later; ``narrowed`` those that
    could otherwise do more; ``kept`` how many were taken over that the backup lacks, ``lost`` how
    many were not. ``audited`` says that the log goes on where the former one ended.
    """

    ended: list[str]
    narrowed: list[str]
    kept: int
    lost: int
    audited: bool


def carry_over(restored: Path, former: Path, lies_within: ScopesWithin) -> Carried:
    """Have what ended in the former database be ended in the restored one; in one transaction.

    No key may do more than in the former one either: where what it may do there is not all that
    the backup gives it, which ``lies_within`` says, it keeps the scopes that it has there.
    Both have the current schema, and nobody else uses the restored one. Raises sqlite3.Error, and
    BackupFailed for a former database that is damaged.
    """
    with closing(connect(restored)) as connection:
        connection.execute("ATTACH ? AS former", (uri_of(former),))
        with closing(connect(former)) as other:
            require_whole(other, former)
        connection.execute("BEGIN IMMEDIATE")
        ended = [row[0] for row in connection.execute(_REVOKE).fetchall()]
        ended += [row[0] for row in connection.execute(_END_SOONER).fetchall()]
        narrowed = _carry_scopes(connection, lies_within)
        kept = _carry_credentials(connection)
        (lost,) = connection.execute(_LOST).fetchone()
        connection.execute(_KEEP_OUT)
        audited = _carry_audit_log(connection)
        # Numbers are never given again.
        connection.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT f.seq FROM "
            "former.sqlite_sequence AS f WHERE f.name = sqlite_sequence.name), 0))"
        )
        connection.execute("COMMIT")
    return Carried(list(dict.fromkeys(ended)), narrowed, kept, lost, audited)


def end_sessions(restored: Path) -> None:
    """Sign everybody out of the console: sessions that were ended since must not come back."""
    with closing(connect(restored)) as connection:
        connection.execute("DELETE FROM console_session")
        connection.execute("DELETE FROM set_up_link")


def put_in_place(restored: Path, database: Path, aside: Path) -> None:
    """Give the restored database its name, and the former one, with what is its own, another.

    For who has made sure that nobody else uses them. At every moment one of the two is whole in
    its place. Raises OSError.
    """
    if database.exists():
        try:
            with closing(connect(database)) as former:
                former.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            # It is damaged: its log goes with it, as it is.
            pass
        os.link(database, aside)
    for suffix in ("-wal", "-shm"):
        beside = database.with_name(f"{database.name}{suffix}")
        if beside.exists():
            beside.rename(aside.with_name(f"{aside.name}{suffix}"))
    with closing(connect(restored)) as connection:
        # Whatever its log still had is in the file that gets the name.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    restored.rename(database)
    sync_directory(database.parent)


def _carry_scopes(connection: sqlite3.Connection, lies_within: ScopesWithin) -> list[str]:
    """Give keys whose scopes were narrowed, or became others, those of now; which they are."""
    narrowed = [
        (present, api_key)
        for api_key, backed_up, present in connection.execute(_SCOPES).fetchall()
        if not lies_within(backed_up.split(), present.split())
    ]
    connection.executemany("UPDATE main.credential SET scopes = ? WHERE api_key = ?", narrowed)
    return [api_key for _, api_key in narrowed]


def _carry_credentials(connection: sqlite3.Connection) -> int:
    names = [row[1] for row in connection.execute("PRAGMA main.table_info(credential)")]
    columns = ", ".join(names)
    rows = connection.execute(_CARRIED.format(columns=columns)).fetchall()
    taken = {row[0] for row in connection.execute("SELECT id FROM main.credential")}
    marks = ", ".join("?" * len(names))
    for row in rows:
        # Of another database's descent, a number may be in use: it gets one of its own.
        number = None if row[0] in taken else row[0]
        connection.execute(
            f"INSERT INTO main.credential ({columns}) VALUES ({marks})",  # noqa: S608 - own names
            (number, *row[1:]),
        )
    return len(rows)


def _carry_audit_log(connection: sqlite3.Connection) -> bool:
    """Add the former log's rows after the last common one; False where they have none."""
    last = connection.execute(
        "SELECT number, mac FROM main.audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if last is not None:
        there = connection.execute(
            "SELECT mac FROM former.audit WHERE number = ?", (last[0],)
        ).fetchone()
        if there is None or there[0] != last[1]:
            return False
    connection.execute(
        "INSERT INTO main.audit SELECT * FROM former.audit WHERE number > ? ORDER BY number",
        (0 if last is None else last[0],),
    )
    return True
