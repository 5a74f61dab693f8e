"""Limits of keys and accounts, the state of quotas, and the counts of refusals by limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_COUNTS = ("rate_limited", "quota_exceeded")


def upgrade() -> None:
    """Make the change. SQLite adds columns in place, without copying the tables."""
    op.create_table(
        "limit_state",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("holder", sa.String(30), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("definition", sa.String, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("base_epoch", sa.BigInteger, nullable=False),
        sa.Column("period_start", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_limit_state_holder_mode_name", "limit_state", ["holder", "mode", "name"], unique=True
    )
    op.create_table(
        "quota_reservation",
        sa.Column("limit_id", _ID, primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True),
        sa.Column("segment", sa.String(32), primary_key=True),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("account", sa.Column("limits", sa.String))
    op.add_column("credential", sa.Column("limits", sa.String))
    op.add_column("credential", sa.Column("limits_of", sa.BigInteger))
    op.create_index(
        "ix_credential_limits_of",
        "credential",
        ["limits_of"],
        sqlite_where=sa.text("limits_of IS NOT NULL"),
        postgresql_where=sa.text("limits_of IS NOT NULL"),
    )
    for name in _COUNTS:
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column("usage_watermark", column)
