"""The keys of a restored database: no key is revived, extended, or given more rights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, TextClause, text

from latchkey.store.tables import credential

ScopesWithin = Callable[[Collection[str], Collection[str]], bool]
"""Whether the first scopes allow nothing that the second do not."""

ConditionsLooser = Callable[[str | None, str | None], bool]
"""Whether the first conditions, as stored, admit a request that the second refuse."""

# Pairs of the same credential in the former and in the restored database: the same key, or the same
# imported token, which has another key if it was imported again.
_COUNTERPARTS = text("""
    CREATE TEMP TABLE counterpart AS
    SELECT c.id AS id, f.id AS former_id FROM credential AS c
    JOIN former_credential AS f ON f.api_key = c.api_key
    UNION
    SELECT c.id, f.id FROM credential AS c
    JOIN former_credential AS f ON f.secret_hash = c.secret_hash
    WHERE c.origin = 'imported' AND f.origin = 'imported'
""")
_INDEXES = (
    text("CREATE INDEX ix_counterpart_id ON counterpart (id)"),
    text("CREATE INDEX ix_counterpart_former_id ON counterpart (former_id)"),
)
_FORGET_COUNTERPARTS = text("DROP TABLE counterpart")
_REVOKE = text("""
    UPDATE credential SET revoked_at = there.revoked_at
    FROM (SELECT p.id, min(f.revoked_at) AS revoked_at FROM counterpart AS p
          JOIN former_credential AS f ON f.id = p.former_id GROUP BY p.id) AS there
    WHERE there.id = credential.id
    AND credential.revoked_at IS NULL AND there.revoked_at IS NOT NULL
    RETURNING api_key
""")
_END_SOONER = text("""
    UPDATE credential SET expires_at = there.expires_at
    FROM (SELECT p.id, min(f.expires_at) AS expires_at FROM counterpart AS p
          JOIN former_credential AS f ON f.id = p.former_id GROUP BY p.id) AS there
    WHERE there.id = credential.id AND there.expires_at IS NOT NULL
    AND (credential.expires_at IS NULL OR there.expires_at < credential.expires_at)
    RETURNING api_key
""")
# Also if the overlap did not shorten the expiry: a rotated key is not rotated again, and its expiry
# is not postponed.
_ROTATE = text("""
    UPDATE credential SET rotated_to = there.rotated_to,
        original_expires_at = there.original_expires_at
    FROM (SELECT p.id, f.rotated_to, f.original_expires_at FROM counterpart AS p
          JOIN former_credential AS f ON f.id = p.former_id
          WHERE f.rotated_to IS NOT NULL) AS there
    WHERE there.id = credential.id
    AND (there.rotated_to <> coalesce(credential.rotated_to, '')
         OR coalesce(there.original_expires_at, -1) <> coalesce(credential.original_expires_at, -1))
    RETURNING api_key
""")
_SCOPES = text("""
    SELECT c.id AS id, c.api_key AS api_key, c.scopes AS backed_up, f.id AS former_id,
        CAST(f.scopes AS TEXT) AS present FROM counterpart AS p
    JOIN credential AS c ON c.id = p.id JOIN former_credential AS f ON f.id = p.former_id
    WHERE f.scopes <> c.scopes ORDER BY c.id
""")
_NARROW = text("""
    UPDATE credential SET scopes = (SELECT scopes FROM former_credential WHERE id = :former_id)
    WHERE id = :id
""")
_CONDITIONS = text("""
    SELECT c.id AS id, c.api_key AS api_key, CAST(c.conditions AS TEXT) AS backed_up,
        f.id AS former_id, CAST(f.conditions AS TEXT) AS present FROM counterpart AS p
    JOIN credential AS c ON c.id = p.id JOIN former_credential AS f ON f.id = p.former_id
    WHERE coalesce(f.conditions, '') <> coalesce(c.conditions, '') ORDER BY c.id
""")
_LIMIT = text("""
    UPDATE credential SET conditions =
        (SELECT conditions FROM former_credential WHERE id = :former_id)
    WHERE id = :id
""")
# Keys that the backup lacks. Those that are revoked or have an expiry are taken over, so that their
# pairs cannot be registered again, and their tokens cannot be imported again. Neither must a
# customer register the pair of a key with fewer rights than a registration gives. Successors are
# taken over, because their clients have no other key, and so are keys whose limits others share.
_CARRIED = """
    FROM former_credential AS f
    WHERE NOT EXISTS (SELECT 1 FROM counterpart AS p WHERE p.former_id = f.id)
    AND (f.revoked_at IS NOT NULL OR f.expires_at IS NOT NULL OR EXISTS
        (SELECT 1 FROM former_credential AS r WHERE r.rotated_to = f.api_key)
        OR EXISTS (SELECT 1 FROM former_credential AS s WHERE s.limits_of = f.id)
        OR f.origin = 'derived' AND (f.conditions IS NOT NULL
            OR f.limits IS NOT NULL OR f.limits_of IS NOT NULL
            OR ' ' || f.scopes || ' ' NOT LIKE '% * %'
            OR f.account_id <> (SELECT id FROM former_account WHERE instance = 1)))
"""
_NAMES = [column.name for column in credential.columns]
_COLUMNS = ", ".join(name for name in _NAMES if name != "id")
_FROM_FORMER = ", ".join(f"f.{name}" for name in _NAMES if name != "id")
_CARRY = text(f"""
    INSERT INTO credential (id, {_COLUMNS}) SELECT f.id, {_FROM_FORMER} {_CARRIED}
    AND NOT EXISTS (SELECT 1 FROM credential AS c WHERE c.id = f.id) ORDER BY f.id
""")  # noqa: S608 - own names
# If an id is in use, because the two databases have no common history, the key gets a new one.
_CARRY_UNDER_NEW_ID = text(f"""
    INSERT INTO credential ({_COLUMNS}) SELECT {_FROM_FORMER} {_CARRIED}
    AND NOT EXISTS (SELECT 1 FROM credential AS c WHERE c.api_key = f.api_key) ORDER BY f.id
""")  # noqa: S608 - own names
_LACKED = text("""
    SELECT count(*) AS keys FROM former_credential AS f
    WHERE NOT EXISTS (SELECT 1 FROM counterpart AS p WHERE p.former_id = f.id)
""")


@dataclass(frozen=True, slots=True)
class CarriedKeys:
    """The fields of ``Carried`` about keys; one key may be in several lists, or twice in one."""

    ended: list[str]
    rotated: list[str]
    narrowed: list[str]
    kept: int
    lost: int


def pair_keys(connection: Connection) -> None:
    """Find the keys that are in both databases; the first step for keys."""
    connection.execute(_COUNTERPARTS)
    for index in _INDEXES:
        connection.execute(index)


def carry_keys(
    connection: Connection, lies_within: ScopesWithin, are_looser: ConditionsLooser
) -> CarriedKeys:
    """Carry revocations and restrictions of keys over, and keys that the backup lacks."""
    ended = _changed(connection, _REVOKE) + _changed(connection, _END_SOONER)
    rotated = _changed(connection, _ROTATE)
    narrowed = _carry_scopes(connection, lies_within) + _carry_conditions(connection, are_looser)
    lacked: int = connection.execute(_LACKED).scalar_one()
    kept = connection.execute(_CARRY).rowcount + connection.execute(_CARRY_UNDER_NEW_ID).rowcount
    return CarriedKeys(ended, rotated, narrowed, kept, lacked - kept)


def forget_pairs(connection: Connection) -> None:
    """Remove what ``pair_keys`` made; the last step for keys."""
    connection.execute(_FORGET_COUNTERPARTS)


def _changed(connection: Connection, statement: TextClause) -> list[str]:
    return [row.api_key for row in connection.execute(statement)]


def _carry_scopes(connection: Connection, lies_within: ScopesWithin) -> list[str]:
    """Give keys whose scopes were narrowed or replaced their present ones; returns these keys."""
    narrowed = [
        row
        for row in connection.execute(_SCOPES)
        if not lies_within(row.backed_up.split(), row.present.split())
    ]
    return _apply(connection, _NARROW, narrowed)


def _carry_conditions(connection: Connection, are_looser: ConditionsLooser) -> list[str]:
    """Give keys whose conditions would become looser their present ones; returns these keys."""
    looser = [
        row for row in connection.execute(_CONDITIONS) if are_looser(row.backed_up, row.present)
    ]
    return _apply(connection, _LIMIT, looser)


def _apply(connection: Connection, statement: TextClause, rows: Sequence[Row[Any]]) -> list[str]:
    if rows:
        connection.execute(statement, [{"former_id": row.former_id, "id": row.id} for row in rows])
    return [row.api_key for row in rows]
