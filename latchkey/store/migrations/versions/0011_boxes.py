"""The boxes that share a database, and a nonce in each row of the log of invalidations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and add the column. SQLite adds it in place, without copying the table."""
    op.create_table(
        "box",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("schema", sa.String(16), nullable=False),
        sa.Column("derivation_ids", sa.String, nullable=False),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
        sa.Column("confirmed", sa.BigInteger, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("stopped_at", sa.BigInteger),
    )
    op.add_column(
        "invalidation", sa.Column("nonce", sa.BigInteger, nullable=False, server_default="0")
    )
