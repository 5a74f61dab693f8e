"""The refusals of each credential by limits, by hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "limit_refusal",
        sa.Column("credential_id", _ID, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("refusals", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limit_refusal_hour", "limit_refusal", ["hour"])
