"""The tables with the indexes that only SQLite can use: what its migrations make."""

from __future__ import annotations

from sqlalchemy import Index, text

from latchkey.store.sqlite.dialect import detail_expression
from latchkey.store.tables import audit, credential, metadata

__all__ = ["metadata"]

# In the order of a sorted listing, with what it is filtered by.
Index(
    "ix_credential_name",
    text("name COLLATE NOCASE"),
    credential.c.id,
    credential.c.mode,
    credential.c.revoked_at,
    credential.c.expires_at,
).ddl_if(dialect="sqlite")
# The rows that made a key and are about another.
audit.append_constraint(
    Index(
        "ix_audit_successor",
        text(detail_expression("successor")),
        sqlite_where=text("action = 'key.rotate'"),
    ).ddl_if(dialect="sqlite")
)
