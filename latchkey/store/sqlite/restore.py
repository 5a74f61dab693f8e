"""Restoring a backup without undoing revocations and other restrictions made since.

The new database is created beside the previous one. It takes over from the previous one the
accounts, the revocations and expiries of keys, the later rows of the audit log, and which
administrators may no longer sign in. Only then does it replace the previous one, in one step.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from latchkey.credentials.times import to_milliseconds
from latchkey.errors import ConfigurationError, LatchkeyError
from latchkey.files.shared_places import UnsafeFile, keep_owner, open_regular, sync_directory
from latchkey.store.sqlite.backup import BackupFailed, connect, require_whole
from latchkey.store.sqlite.location import sqlite_uri
from latchkey.store.sqlite.migrate import (
    active_by_derivation,
    newest_revision,
    refuse_what_is_broken,
    revisions_of,
)
from latchkey.store.sqlite.opening import rows_of
from latchkey.store.sqlite.restore_accounts import CarriedAccounts, carry_accounts, carry_owners

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
# The parts of the previous database that are read.
_READ = ("account", "credential", "administrator", "audit")

# Pairs of the same credential in the previous and in the restored database: the same key, or the
# same imported token, which has another key if it was imported again.
_COUNTERPARTS = """
    CREATE TEMP TABLE counterpart AS
    SELECT c.id AS id, f.id AS former_id FROM main.credential AS c
    JOIN former.credential AS f ON f.api_key = c.api_key
    UNION
    SELECT c.id, f.id FROM main.credential AS c
    JOIN former.credential AS f ON f.secret_hash = c.secret_hash
    WHERE c.origin = 'imported' AND f.origin = 'imported'
"""
_REVOKE = """
    UPDATE main.credential SET revoked_at = there.revoked_at
    FROM (SELECT p.id, min(f.revoked_at) AS revoked_at FROM temp.counterpart AS p
          JOIN former.credential AS f ON f.id = p.former_id GROUP BY p.id) AS there
    WHERE there.id = credential.id
    AND credential.revoked_at IS NULL AND there.revoked_at IS NOT NULL
    RETURNING api_key
"""
_END_SOONER = """
    UPDATE main.credential SET expires_at = there.expires_at
    FROM (SELECT p.id, min(f.expires_at) AS expires_at FROM temp.counterpart AS p
          JOIN former.credential AS f ON f.id = p.former_id GROUP BY p.id) AS there
    WHERE there.id = credential.id AND there.expires_at IS NOT NULL
    AND (credential.expires_at IS NULL OR there.expires_at < credential.expires_at)
    RETURNING api_key
"""
# Also if the overlap did not shorten the expiry: a rotated key is not rotated again, and its expiry
# is not postponed.
_ROTATE = """
    UPDATE main.credential SET (rotated_to, original_expires_at) =
        (there.rotated_to, there.original_expires_at)
    FROM (SELECT p.id, f.rotated_to, f.original_expires_at FROM temp.counterpart AS p
          JOIN former.credential AS f ON f.id = p.former_id
          WHERE f.rotated_to IS NOT NULL) AS there
    WHERE there.id = credential.id
    AND (there.rotated_to IS NOT credential.rotated_to
         OR there.original_expires_at IS NOT credential.original_expires_at)
    RETURNING api_key
"""
_SCOPES = """
    SELECT c.id AS id, c.api_key AS api_key, c.scopes AS backed_up, f.id AS former_id,
        CAST(f.scopes AS TEXT) AS present FROM temp.counterpart AS p
    JOIN main.credential AS c ON c.id = p.id JOIN former.credential AS f ON f.id = p.former_id
    WHERE f.scopes <> c.scopes ORDER BY c.id
"""
_NARROW = """
    UPDATE main.credential SET scopes = (SELECT scopes FROM former.credential WHERE id = ?)
    WHERE id = ?
"""
_CONDITIONS = """
    SELECT c.id AS id, c.api_key AS api_key, CAST(c.conditions AS TEXT) AS backed_up,
        f.id AS former_id, CAST(f.conditions AS TEXT) AS present FROM temp.counterpart AS p
    JOIN main.credential AS c ON c.id = p.id JOIN former.credential AS f ON f.id = p.former_id
    WHERE f.conditions IS NOT c.conditions ORDER BY c.id
"""
_LIMIT = """
    UPDATE main.credential SET conditions = (SELECT conditions FROM former.credential WHERE id = ?)
    WHERE id = ?
"""
# Keys that the backup lacks. Those that are revoked or have an expiry are taken over, so that their
# pairs cannot be registered again, and their tokens cannot be imported again. Neither must a
# customer register the pair of a key with fewer rights than a registration gives. Successors are
# taken over, because their clients have no other key. If an id is in use, because the two databases
# have no common history, the key gets a new one.
_CARRY = """
    INSERT INTO main.credential (id, {columns})
    SELECT CASE WHEN id IN (SELECT id FROM main.credential) THEN NULL ELSE id END, {columns}
    FROM former.credential
    WHERE id NOT IN (SELECT former_id FROM temp.counterpart)
    AND (revoked_at IS NOT NULL OR expires_at IS NOT NULL OR api_key IN
        (SELECT rotated_to FROM former.credential WHERE rotated_to IS NOT NULL)
        OR origin = 'derived' AND (conditions IS NOT NULL OR instr(' ' || scopes || ' ', ' * ') = 0
            OR account_id <> (SELECT id FROM former.account WHERE instance = 1)))
    ORDER BY former.credential.id
"""
_LACKED = """
    SELECT count(*) AS keys FROM former.credential
    WHERE id NOT IN (SELECT former_id FROM temp.counterpart)
"""
# Ids are never reused, including those of tables that had no rows yet.
_RAISE_NUMBERS = """
    UPDATE main.sqlite_sequence SET seq = max(seq, coalesce(
        (SELECT f.seq FROM former.sqlite_sequence AS f WHERE f.name = sqlite_sequence.name), 0))
"""
_ADD_NUMBERS = """
    INSERT INTO main.sqlite_sequence (name, seq) SELECT name, seq FROM former.sqlite_sequence
    WHERE name NOT IN (SELECT name FROM main.sqlite_sequence)
"""
_KEEP_OUT = """
    UPDATE administrator SET (password_hash, disabled_at) =
        (SELECT f.password_hash, coalesce(f.disabled_at, administrator.disabled_at)
         FROM former.administrator AS f WHERE f.name = administrator.name)
    WHERE name IN (SELECT f.name FROM former.administrator AS f)
"""
# Administrators that were removed since come back disabled; the operator may enable them.
_DISABLE_REMOVED = """
    UPDATE main.administrator SET disabled_at = coalesce(disabled_at, ?)
    WHERE name NOT IN (SELECT f.name FROM former.administrator AS f)
    RETURNING name
"""

_LAST_AUDITED = """
    SELECT number, CAST(mac AS BLOB) AS mac FROM main.audit ORDER BY number DESC LIMIT 1
"""
# Rows of version 0.2 in the backup that are in the previous log too, where they were re-chained.
# Values that were erased since cannot be compared.
_RECHAINED_SINCE = """
    SELECT count(*) AS rows, coalesce(sum(
        f.detail_digest IS NOT NULL AND b.detail_digest IS NULL
        AND f.at IS b.at AND f.action IS b.action AND f.actor_kind IS b.actor_kind
        AND f.actor IS b.actor AND f.subject IS b.subject
        AND (f.address_digest IS NULL) = (b.address IS NULL)
        AND (f.address IS b.address OR f.address_salt IS NULL)
        AND (f.detail IS b.detail OR f.detail_salt IS NULL)
    ), 0) AS same
    FROM main.audit AS b LEFT JOIN former.audit AS f ON f.number = b.number
"""
# Values that were erased since the backup.
_ERASE_ADDRESSES = """
    UPDATE main.audit SET (address, address_salt) = (NULL, NULL) WHERE number IN (
        SELECT b.number FROM main.audit AS b JOIN former.audit AS f
        ON f.number = b.number AND f.address_digest = b.address_digest
        WHERE f.address IS NULL AND f.address_salt IS NULL)
"""
_ERASE_DETAILS = """
    UPDATE main.audit SET (detail, detail_salt) = ('', NULL) WHERE number IN (
        SELECT b.number FROM main.audit AS b JOIN former.audit AS f
        ON f.number = b.number AND f.detail_digest = b.detail_digest
        WHERE f.detail = '' AND f.detail_salt IS NULL)
"""
_AUDITED_BY_FORMER = "SELECT CAST(mac AS BLOB) AS mac FROM former.audit WHERE number = ?"
_CARRY_AUDITED = """
    INSERT INTO main.audit ({columns}) SELECT {columns} FROM former.audit
    WHERE number > ? ORDER BY number
"""

ScopesWithin = Callable[[Collection[str], Collection[str]], bool]
"""Whether the first scopes allow nothing that the second do not."""

ConditionsLooser = Callable[[str | None, str | None], bool]
"""Whether the first conditions, as stored, admit a request that the second refuse."""


class FormerUnreadable(LatchkeyError):
    """The database in use is missing or cannot be read: its revocations are unknown."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The state that a restored database took over from the previous one.

    ``ended``: keys that the backup would have revived or extended; ``rotated``: other keys that
    were rotated; ``narrowed``: keys to which the backup would have given more scopes, or
    looser conditions; ``kept`` and
    ``lost``: how many keys that the backup lacks were and were not taken over. ``audited``: the log
    continues from the end of the previous one. ``kept_out``: administrators that the previous one
    lacks. ``accounts``: the accounts taken over.
    """

    ended: list[str]
    rotated: list[str]
    narrowed: list[str]
    kept: int
    lost: int
    audited: bool
    kept_out: list[str]
    accounts: CarriedAccounts


def require_readable(former: Path, restored: Path) -> None:
    """Raise FormerUnreadable unless a database can be opened and read, and has a known schema.

    ``restored`` has the current schema; the previous one may have an earlier schema. Raises
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
                for table in _READ:
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


def carry_over(
    restored: Path,
    former: Path,
    lies_within: ScopesWithin,
    are_looser: ConditionsLooser,
    now: datetime,
    *,
    adopts_instance: bool = False,
) -> Carried:
    """Carry revocations and other restrictions of the previous database over to the restored one.

    It is one transaction. A key whose scopes in the backup do not lie within its present ones,
    according to ``lies_within``, keeps the present ones, and so does a key whose conditions in the
    backup ``are_looser`` than its present ones. Administrators that the previous database
    lacks are disabled as of ``now``, in UTC. ``adopts_instance``: the backup was made before there
    were accounts. Both databases have the current schema, and no other
    process uses the restored one. Raises sqlite3.Error.
    """
    with closing(connect(restored)) as connection:
        # Text that was put there by other means is not a scope, and not a reason to stop.
        connection.text_factory = _readable
        connection.execute("ATTACH ? AS former", (sqlite_uri(former),))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_COUNTERPARTS)
        # First, because an id that is assigned below must not be in use.
        connection.execute(_RAISE_NUMBERS)
        connection.execute(_ADD_NUMBERS)
        columns = _columns(connection, "main", "account")
        accounts = carry_accounts(connection, columns, adopts_instance)
        ended = [row["api_key"] for row in rows_of(connection, _REVOKE)]
        ended += [row["api_key"] for row in rows_of(connection, _END_SOONER)]
        rotated = [row["api_key"] for row in rows_of(connection, _ROTATE)]
        narrowed = _carry_scopes(connection, lies_within)
        limited = _carry_conditions(connection, are_looser)
        (lacked,) = rows_of(connection, _LACKED)
        kept = _carry_credentials(connection)
        ended += carry_owners(connection)
        connection.execute(_KEEP_OUT)
        removed = rows_of(connection, _DISABLE_REMOVED, (to_milliseconds(now),))
        audited = _carry_audit_log(connection)
        connection.execute("COMMIT")
    ended = list(dict.fromkeys(ended))
    kept_out = sorted(row["name"] for row in removed)
    rotated = sorted(set(rotated).difference(ended))
    narrowed = list(dict.fromkeys([*narrowed, *limited]))
    lost = lacked["keys"] - kept
    return Carried(ended, rotated, narrowed, kept, lost, audited, kept_out, accounts)


def active_keys(restored: Path, now: datetime) -> dict[str, int]:
    """The number of active credentials, by the derivation key that made them."""
    with closing(connect(restored)) as connection:
        return active_by_derivation(connection, to_milliseconds(now))


def end_sessions(restored: Path) -> None:
    """End all sessions of the console: sessions that were ended since must not come back."""
    with closing(connect(restored)) as connection:
        connection.execute("DELETE FROM console_session")
        connection.execute("DELETE FROM set_up_link")


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


def _carry_scopes(connection: sqlite3.Connection, lies_within: ScopesWithin) -> list[str]:
    """Give keys whose scopes were narrowed or replaced their present ones; returns these keys."""
    narrowed = [
        row
        for row in rows_of(connection, _SCOPES)
        if not lies_within(row["backed_up"].split(), row["present"].split())
    ]
    connection.executemany(_NARROW, [(row["former_id"], row["id"]) for row in narrowed])
    return [row["api_key"] for row in narrowed]


def _carry_conditions(connection: sqlite3.Connection, are_looser: ConditionsLooser) -> list[str]:
    """Give keys whose conditions would become looser their present ones; returns these keys."""
    looser = [
        row
        for row in rows_of(connection, _CONDITIONS)
        if are_looser(row["backed_up"], row["present"])
    ]
    connection.executemany(_LIMIT, [(row["former_id"], row["id"]) for row in looser])
    return [row["api_key"] for row in looser]


def _carry_credentials(connection: sqlite3.Connection) -> int:
    names = _columns(connection, "main", "credential")
    columns = ", ".join(name for name in names if name != "id")
    return connection.execute(_CARRY.format(columns=columns)).rowcount


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    """The names of the columns of a table."""
    return [row["name"] for row in rows_of(connection, f"PRAGMA {schema}.table_info({table})")]


def _readable(text: bytes) -> str:
    return text.decode(errors="replace")


def _carry_audit_log(connection: sqlite3.Connection) -> bool:
    """Add the previous log's rows after the last common one; False if there is no common row.

    Values that were erased since the backup are erased in its rows too.
    """
    number = 0
    for last in rows_of(connection, _LAST_AUDITED):
        number = last["number"]
        there = rows_of(connection, _AUDITED_BY_FORMER, (number,))
        if [row["mac"] for row in there] != [last["mac"]]:
            (found,) = rows_of(connection, _RECHAINED_SINCE)
            if found["rows"] != found["same"]:
                return False
            # The MACs of all rows have changed since.
            connection.execute("DELETE FROM main.audit")
            number = 0
    connection.execute(_ERASE_ADDRESSES)
    connection.execute(_ERASE_DETAILS)
    columns = ", ".join(_columns(connection, "main", "audit"))
    connection.execute(_CARRY_AUDITED.format(columns=columns), (number,))
    return True
