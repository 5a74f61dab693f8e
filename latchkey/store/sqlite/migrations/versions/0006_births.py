"""Indexes for the audit rows that created a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes. No row of the log is rewritten."""
    op.create_index(
        "ix_audit_successor",
        "audit",
        [sa.text("CASE WHEN json_valid(detail) THEN json_extract(detail, '$.successor') END")],
        sqlite_where=sa.text("action = 'key.rotate'"),
    )
    op.create_index(
        "ix_audit_import", "audit", ["at"], sqlite_where=sa.text("action = 'key.import'")
    )
