"""Indexes for sorted listings, the addresses of uses, and the time of the first use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add them. For earlier uses, the first use is known only to the hour."""
    op.add_column("credential", sa.Column("first_used_at", sa.BigInteger))
    op.create_table(
        "sighting",
        sa.Column("credential_id", _ID, primary_key=True),
        sa.Column("address", sa.String(40), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_credential_expires_at", "credential", ["expires_at", "id", "mode", "revoked_at"]
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_index(
        "ix_credential_name",
        "credential",
        [
            sa.text("name COLLATE NOCASE" if is_sqlite else "lower(name)"),
            *("id", "mode", "revoked_at", "expires_at"),
        ],
    )
    op.execute(
        "UPDATE credential SET first_used_at ="
        " (SELECT min(hour) FROM usage WHERE usage.credential_id = credential.id)"
        " WHERE last_used_at IS NOT NULL"
    )
