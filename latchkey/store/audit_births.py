"""The rows of the audit log that made a key and are about another, or about many.

A successor is named in the detail of its predecessor's rotation; imported keys are those of the
moment and the range of ids that the row of their import records.
"""

from __future__ import annotations

from sqlalchemy import Select, literal_column, select, union_all

from latchkey.credentials.audit import Action
from latchkey.store.connections import SqlDialect
from latchkey.store.tables import audit, credential

# Written out and not bound: only so are indexes of just these rows used.
_IS_ROTATION = audit.c.action == literal_column(f"'{Action.KEY_ROTATE.value}'")
_IS_IMPORT = audit.c.action == literal_column(f"'{Action.KEY_IMPORT.value}'")


def births_of(api_key: str, dialect: SqlDialect) -> Select[int]:
    """The numbers of those rows, as a query."""
    successor = dialect.in_detail("successor")
    rotations = select(audit.c.number).where(_IS_ROTATION, successor == api_key)
    first, last = dialect.in_detail("first_id"), dialect.in_detail("last_id")
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
