"""Conditions and metadata of a key, and the counts of refusals by conditions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNTS = ("disabled", "not_yet_valid", "address", "endpoint", "observed")


def upgrade() -> None:
    """Make the change. SQLite adds columns in place, without copying the tables."""
    op.add_column("credential", sa.Column("conditions", sa.String))
    op.add_column("credential", sa.Column("metadata", sa.String))
    for name in _COUNTS:
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column("usage_watermark", column)
