"""Audit rows that created a key but have another subject: rotations and imports.

The row of a rotation names the successor in its detail. The row of an import records the time and
the range of ids of its keys.
"""

from __future__ import annotations

from sqlalchemy import Select, literal_column, select, union_all

from latchkey.credentials.audit import Action
from latchkey.store.connections import SqlDialect
from latchkey.store.tables import audit, credential

# Literal, not bound: otherwise SQLite would not use the partial indexes of these rows.
_IS_ROTATION = audit.c.action == literal_column(f"'{Action.KEY_ROTATE.value}'")
_IS_IMPORT = audit.c.action == literal_column(f"'{Action.KEY_IMPORT.value}'")


def births_of(api_key: str, dialect: SqlDialect) -> Select[int]:
    """The numbers of those rows, as a query."""
    successor = dialect.text_in_detail("successor")
    rotations = select(audit.c.number).where(_IS_ROTATION, successor == api_key)
    first, last = (dialect.number_in_detail(name) for name in ("first_id", "last_id"))
    imports = (
        select(audit.c.number)
        .join_from(credential, audit, audit.c.at == credential.c.created_at)
        .where(
            _IS_IMPORT,
            credential.c.api_key == api_key,
            credential.c.origin == "imported",
            credential.c.id.between(first, last),
        )
    )
    made = union_all(rotations, imports).subquery()
    return select(made.c.number)
