"""The audit log of a restored database: it continues from the end of the former one."""

from __future__ import annotations

from sqlalchemy import Connection, delete, text

from latchkey.store.tables import audit

_COMMON = text("""
    SELECT count(*) AS rows FROM audit AS b JOIN former_audit AS f
    ON f.number = b.number AND f.mac = b.mac WHERE b.number = :number
""")
_LAST = text("SELECT max(number) AS number FROM audit")
_FORMER_LAST = text("SELECT max(number) AS number FROM former_audit")
# Rows of version 0.2 in the backup that are in the former log too, where they were re-chained.
# Values that were erased since cannot be compared.
_RECHAINED_SINCE = text("""
    SELECT count(*) AS rows, count(*) FILTER (WHERE
        f.detail_digest IS NOT NULL AND b.detail_digest IS NULL
        AND f.at = b.at AND f.action = b.action AND f.actor_kind = b.actor_kind
        AND (f.actor = b.actor OR f.actor IS NULL AND b.actor IS NULL)
        AND (f.subject = b.subject OR f.subject IS NULL AND b.subject IS NULL)
        AND (f.address_digest IS NULL) = (b.address IS NULL)
        AND (f.address = b.address OR f.address IS NULL AND b.address IS NULL
             OR f.address_salt IS NULL)
        AND (f.detail = b.detail OR f.detail_salt IS NULL)
    ) AS same
    FROM audit AS b LEFT JOIN former_audit AS f ON f.number = b.number
""")
# Values that were erased since the backup.
_ERASE_ADDRESSES = text("""
    UPDATE audit SET address = NULL, address_salt = NULL WHERE number IN (
        SELECT b.number FROM audit AS b JOIN former_audit AS f
        ON f.number = b.number AND f.address_digest = b.address_digest
        WHERE f.address IS NULL AND f.address_salt IS NULL)
""")
_ERASE_DETAILS = text("""
    UPDATE audit SET detail = '', detail_salt = NULL WHERE number IN (
        SELECT b.number FROM audit AS b JOIN former_audit AS f
        ON f.number = b.number AND f.detail_digest = b.detail_digest
        WHERE f.detail = '' AND f.detail_salt IS NULL)
""")
_COLUMNS = ", ".join(column.name for column in audit.columns)
_CARRY = text(f"""
    INSERT INTO audit ({_COLUMNS}) SELECT {_COLUMNS} FROM former_audit
    WHERE number > :number ORDER BY number
""")  # noqa: S608 - own names


def carry_audit_log(connection: Connection) -> bool:
    """Add the former log's rows after the last common one; False if there is no common row.

    Values that were erased since the backup are erased in its rows too.
    """
    number = connection.execute(_LAST).scalar_one()
    if number is not None and not _is_common(connection, number):
        found = connection.execute(_RECHAINED_SINCE).one()
        if found.rows != found.same:
            return False
        # The MACs of all rows have changed since.
        connection.execute(delete(audit))
        number = None
    connection.execute(_ERASE_ADDRESSES)
    connection.execute(_ERASE_DETAILS)
    connection.execute(_CARRY, {"number": -(2**63) if number is None else number})
    return True


def former_is_older(connection: Connection) -> bool:
    """Whether the former log ends with a row that the restored log has, and goes on after it."""
    number = connection.execute(_LAST).scalar_one()
    former = connection.execute(_FORMER_LAST).scalar_one()
    if former is None:
        return number is not None
    return number is not None and number > former and _is_common(connection, former)


def _is_common(connection: Connection, number: int) -> bool:
    """Whether both logs have the same row under a number."""
    rows: int = connection.execute(_COMMON, {"number": number}).scalar_one()
    return rows > 0
