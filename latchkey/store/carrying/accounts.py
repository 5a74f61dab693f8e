"""The accounts of a restored database: present restrictions apply to those of the backup.

An account is the same in both databases if it has the same id.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from latchkey.store.carrying.carried import CarriedAccounts
from latchkey.store.tables import account

# A backup of version 0.2 gets a new instance account by its migration. This account takes the id of
# the present instance account, to which the same keys belong in the present database.
_ADOPT_KEYS = text("""
    UPDATE credential SET account_id = (SELECT id FROM former_account WHERE instance = 1)
    WHERE account_id = (SELECT id FROM account WHERE instance = 1)
""")
_ADOPT = text("""
    UPDATE account SET id = there.id, name = there.name, external_id = there.external_id,
        metadata = there.metadata, created_at = there.created_at
    FROM former_account AS there WHERE there.instance = 1 AND account.instance = 1
""")
# There is one instance account. If the two databases have different ones, because they are not of
# the same instance, that of the backup stays.
_PRESENT = text("""
    CREATE TEMP TABLE present_account AS SELECT * FROM former_account
    WHERE instance = 0 OR id = (SELECT id FROM account WHERE instance = 1)
""")
_FORGET_PRESENT = text("DROP TABLE present_account")
# An external id stands for a customer's data, so what is there now takes precedence: a key must not
# get at the data of another account by a restore.
_RELEASE_EXTERNAL_IDS = text("""
    UPDATE account SET external_id = NULL
    WHERE id IN (SELECT id FROM present_account)
    OR external_id IN (SELECT external_id FROM present_account WHERE external_id IS NOT NULL)
""")
_KEEP_EXTERNAL_IDS = text("""
    UPDATE account SET external_id = there.external_id
    FROM present_account AS there WHERE there.id = account.id
""")
_DISABLE = text("""
    UPDATE account SET disabled_at = there.disabled_at
    FROM present_account AS there WHERE there.id = account.id
    AND account.disabled_at IS NULL AND there.disabled_at IS NOT NULL
    RETURNING account.id AS id
""")
_ERASE = text("""
    UPDATE account SET name = NULL, external_id = NULL, metadata = NULL,
        erased_at = there.erased_at
    FROM present_account AS there WHERE there.id = account.id
    AND account.erased_at IS NULL AND there.erased_at IS NOT NULL
    RETURNING account.id AS id
""")
_REVOKE_ERASED = text("""
    UPDATE credential SET revoked_at = there.erased_at
    FROM account AS there WHERE there.id = credential.account_id
    AND there.erased_at IS NOT NULL AND credential.revoked_at IS NULL
    RETURNING credential.api_key AS api_key
""")
_NAMES = [column.name for column in account.columns]
_COLUMNS = ", ".join(name for name in _NAMES if name != "number")
_CARRY = text(f"""
    INSERT INTO account (number, {_COLUMNS}) SELECT number, {_COLUMNS} FROM present_account
    WHERE id NOT IN (SELECT id FROM account) AND number NOT IN (SELECT number FROM account)
    ORDER BY number
""")  # noqa: S608 - own names
# If a number is in use, because the two databases have no common history, the account gets a new
# one.
_CARRY_UNDER_NEW_NUMBER = text(f"""
    INSERT INTO account ({_COLUMNS}) SELECT {_COLUMNS} FROM present_account
    WHERE id NOT IN (SELECT id FROM account) ORDER BY number
""")  # noqa: S608 - own names
# A token that was imported again may belong to another account now.
_KEEP_OWNERS = text("""
    UPDATE credential SET account_id = there.account_id
    FROM (SELECT p.id, f.account_id FROM
            (SELECT id, max(former_id) AS former_id FROM counterpart GROUP BY id) AS p
          JOIN former_credential AS f ON f.id = p.former_id) AS there
    WHERE there.id = credential.id AND there.account_id <> credential.account_id
""")
_MOVE_TO_INSTANCE = text("""
    UPDATE credential SET account_id = (SELECT id FROM account WHERE instance = 1)
    WHERE account_id = (SELECT id FROM former_account WHERE instance = 1)
    AND account_id <> (SELECT id FROM account WHERE instance = 1)
""")


def carry_accounts(connection: Connection, adopts_instance: bool) -> CarriedAccounts:
    """Carry accounts over, and their restrictions; the first step of a restore.

    With ``adopts_instance``, the restored database had no accounts before it was migrated.
    """
    if adopts_instance:
        connection.execute(_ADOPT_KEYS)
        connection.execute(_ADOPT)
    connection.execute(_PRESENT)
    connection.execute(_RELEASE_EXTERNAL_IDS)
    connection.execute(_KEEP_EXTERNAL_IDS)
    disabled = [row.id for row in connection.execute(_DISABLE)]
    erased = [row.id for row in connection.execute(_ERASE)]
    kept = connection.execute(_CARRY).rowcount
    kept += connection.execute(_CARRY_UNDER_NEW_NUMBER).rowcount
    connection.execute(_FORGET_PRESENT)
    return CarriedAccounts(sorted(disabled), sorted(erased), kept)


def carry_owners(connection: Connection) -> list[str]:
    """Give every key the account that it belongs to now; the last change of keys.

    Keys of the former instance account belong to the restored one, and keys of erased accounts are
    revoked: returns those that were not.
    """
    connection.execute(_KEEP_OWNERS)
    connection.execute(_MOVE_TO_INSTANCE)
    return [row.api_key for row in connection.execute(_REVOKE_ERASED)]
