"""The tables with SQLite's own indexes, as the migrations create them."""

from __future__ import annotations

from sqlalchemy import Index, text

from latchkey.store.sqlite.dialect import detail_expression
from latchkey.store.tables import audit, credential, metadata

__all__ = ["metadata"]

# In the order of a sorted listing, with the columns that its filters read.
Index(
    "ix_credential_name",
    text("name COLLATE NOCASE"),
    credential.c.id,
    credential.c.mode,
    credential.c.revoked_at,
    credential.c.expires_at,
).ddl_if(dialect="sqlite")
# The rows that created a key but have another subject.
audit.append_constraint(
    Index(
        "ix_audit_successor",
        text(detail_expression("successor")),
        sqlite_where=text("action = 'key.rotate'"),
    ).ddl_if(dialect="sqlite")
)
