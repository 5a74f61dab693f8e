"""The segment whose uses a box counts, so that its watermarks can be forgotten with the box."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column in place; it is empty for boxes of earlier versions."""
    op.add_column("box", sa.Column("segment", sa.String(32)))
