"""The console's administrators, their sessions, and the set-up link."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "administrator",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("signed_in_at", sa.BigInteger),
        sa.UniqueConstraint("name", name="uq_administrator_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "console_session",
        sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("administrator_id", _ID, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.String, nullable=False),
    )
    op.create_index("ix_console_session_administrator_id", "console_session", ["administrator_id"])
    op.create_table(
        "set_up_link",
        sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
