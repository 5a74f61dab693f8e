"""The audit log, which starts empty, and the origin of imported credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the table and the column. No existing row of credentials is rewritten."""
    op.add_column(
        "credential", sa.Column("origin", sa.String(8), nullable=False, server_default="derived")
    )
    op.create_index(
        "uq_credential_imported_hash",
        "credential",
        ["secret_hash"],
        unique=True,
        sqlite_where=sa.text("origin = 'imported'"),
        postgresql_where=sa.text("origin = 'imported'"),
    )
    op.create_table(
        "audit",
        sa.Column("number", _ID, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(100)),
        sa.Column("address", sa.String(64)),
        sa.Column("subject", sa.String(100)),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
    )
    op.create_index("ix_audit_subject_number", "audit", ["subject", "number"])
