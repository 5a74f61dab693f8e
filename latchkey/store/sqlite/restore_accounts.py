"""The accounts of a restored database: present restrictions apply to those of the backup.

An account is the same in both databases if it has the same id. The statements run in the
transaction of the restore, with the previous database attached as ``former``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from latchkey.store.sqlite.backup import connect
from latchkey.store.sqlite.opening import rows_of

# A backup of version 0.2 gets a new instance account by its migration. This account takes the id of
# the present instance account, to which the same keys belong in the present database.
_ADOPT_KEYS = """
    UPDATE main.credential SET account_id = (SELECT id FROM former.account WHERE instance = 1)
    WHERE account_id = (SELECT id FROM main.account WHERE instance = 1)
"""
_ADOPT = """
    UPDATE main.account SET (id, name, external_id, metadata, created_at) =
        (SELECT id, name, external_id, metadata, created_at FROM former.account WHERE instance = 1)
    WHERE instance = 1
"""
# There is one instance account. If the two databases have different ones, because they are not of
# the same instance, that of the backup stays.
_PRESENT = """
    CREATE TEMP TABLE present_account AS SELECT * FROM former.account
    WHERE instance = 0 OR id = (SELECT id FROM main.account WHERE instance = 1)
"""
# An external id stands for a customer's data, so what is there now takes precedence: a key must not
# get at the data of another account by a restore.
_RELEASE_EXTERNAL_IDS = """
    UPDATE main.account SET external_id = NULL
    WHERE id IN (SELECT id FROM temp.present_account)
    OR external_id IN (SELECT external_id FROM temp.present_account WHERE external_id IS NOT NULL)
"""
_KEEP_EXTERNAL_IDS = """
    UPDATE main.account SET external_id = there.external_id
    FROM temp.present_account AS there WHERE there.id = account.id
"""
_DISABLE = """
    UPDATE main.account SET disabled_at = there.disabled_at
    FROM temp.present_account AS there WHERE there.id = account.id
    AND account.disabled_at IS NULL AND there.disabled_at IS NOT NULL
    RETURNING id
"""
_ERASE = """
    UPDATE main.account SET (name, external_id, metadata, erased_at) =
        (NULL, NULL, NULL, there.erased_at)
    FROM temp.present_account AS there WHERE there.id = account.id
    AND account.erased_at IS NULL AND there.erased_at IS NOT NULL
    RETURNING id
"""
_REVOKE_ERASED = """
    UPDATE main.credential SET revoked_at = there.erased_at
    FROM main.account AS there WHERE there.id = credential.account_id
    AND there.erased_at IS NOT NULL AND credential.revoked_at IS NULL
    RETURNING api_key
"""
# If a number is in use, because the two databases have no common history, the account gets a new
# one.
_CARRY = """
    INSERT INTO main.account (number, {columns})
    SELECT CASE WHEN number IN (SELECT number FROM main.account) THEN NULL ELSE number END,
        {columns}
    FROM temp.present_account WHERE id NOT IN (SELECT id FROM main.account) ORDER BY number
"""
# A token that was imported again may belong to another account now.
_KEEP_OWNERS = """
    UPDATE main.credential SET account_id = there.account_id
    FROM (SELECT p.id, f.account_id, max(f.id) FROM temp.counterpart AS p
          JOIN former.credential AS f ON f.id = p.former_id GROUP BY p.id) AS there
    WHERE there.id = credential.id AND there.account_id <> credential.account_id
"""
_MOVE_TO_INSTANCE = """
    UPDATE main.credential SET account_id = (SELECT id FROM main.account WHERE instance = 1)
    WHERE account_id = (SELECT id FROM former.account WHERE instance = 1)
"""


@dataclass(frozen=True, slots=True)
class CarriedAccounts:
    """The accounts that a restored database took over from the previous one.

    ``disabled`` and ``erased``: ids of accounts that the backup would have enabled or brought back;
    ``kept``: how many accounts that the backup lacks were taken over.
    """

    disabled: list[str]
    erased: list[str]
    kept: int


def has_accounts(database: Path) -> bool:
    """Whether a database has accounts, before it is migrated; raises sqlite3.Error."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'account'"
    with closing(connect(database)) as connection:
        return bool(rows_of(connection, query))


def carry_accounts(
    connection: sqlite3.Connection, columns: list[str], adopts_instance: bool
) -> CarriedAccounts:
    """Carry accounts over, and their restrictions; the first step of a restore.

    ``columns`` are those of an account, in both databases. With ``adopts_instance``, the restored
    database had no accounts before it was migrated.
    """
    if adopts_instance:
        connection.execute(_ADOPT_KEYS)
        connection.execute(_ADOPT)
    connection.execute(_PRESENT)
    connection.execute(_RELEASE_EXTERNAL_IDS)
    connection.execute(_KEEP_EXTERNAL_IDS)
    disabled = [row["id"] for row in rows_of(connection, _DISABLE)]
    erased = [row["id"] for row in rows_of(connection, _ERASE)]
    named = ", ".join(name for name in columns if name != "number")
    kept = connection.execute(_CARRY.format(columns=named)).rowcount
    return CarriedAccounts(sorted(disabled), sorted(erased), kept)


def carry_owners(connection: sqlite3.Connection) -> list[str]:
    """Give every key the account that it belongs to now; the last step for keys.

    Keys of the previous instance account belong to the restored one, and keys of erased accounts
    are revoked: returns those that were not.
    """
    connection.execute(_KEEP_OWNERS)
    connection.execute(_MOVE_TO_INSTANCE)
    return [row["api_key"] for row in rows_of(connection, _REVOKE_ERASED)]
