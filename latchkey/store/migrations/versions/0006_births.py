"""Indexes for the audit rows that created a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SUCCESSOR = "CASE WHEN json_valid(detail) THEN json_extract(detail, '$.successor') END"
_SUCCESSOR_IN_POSTGRESQL = """substring(detail, '"successor": ?"([^"\\\\]*)"')"""


def upgrade() -> None:
    """Create the indexes. No row of the log is rewritten."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_index(
        "ix_audit_successor",
        "audit",
        [sa.text(_SUCCESSOR if is_sqlite else _SUCCESSOR_IN_POSTGRESQL)],
        sqlite_where=sa.text("action = 'key.rotate'"),
        postgresql_where=sa.text("action = 'key.rotate'"),
    )
    op.create_index(
        "ix_audit_import",
        "audit",
        ["at"],
        sqlite_where=sa.text("action = 'key.import'"),
        postgresql_where=sa.text("action = 'key.import'"),
    )
