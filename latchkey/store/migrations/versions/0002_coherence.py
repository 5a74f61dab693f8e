"""Rotation, the log of invalidations, and the use counts of credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables and columns. No existing row of credentials is rewritten."""
    op.add_column("credential", sa.Column("rotated_to", sa.String(30)))
    op.add_column("credential", sa.Column("original_expires_at", sa.BigInteger))
    op.add_column("credential", sa.Column("last_used_at", sa.BigInteger))
    op.create_table(
        "invalidation",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("lookup", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "usage",
        sa.Column("credential_id", _ID, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refusal",
        sa.Column("credential_id", _ID, primary_key=True),
        sa.Column("reason", sa.String(16), primary_key=True),
        sa.Column("refusals", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_watermark",
        sa.Column("segment", sa.String(32), primary_key=True),
        sa.Column("credential_id", _ID, primary_key=True),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger, nullable=False),
        sa.Column("expired", sa.BigInteger, nullable=False),
        sa.Column("scope", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
