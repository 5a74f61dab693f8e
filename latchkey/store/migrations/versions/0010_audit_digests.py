"""Salted digests of the values in the audit log that may be erased.

The rows get them from the first process that has the key of the log; see ``store.audit_rechain``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("address_salt", 32),
    ("address_digest", 64),
    ("detail_salt", 32),
    ("detail_digest", 64),
)


def upgrade() -> None:
    """Add the columns. SQLite adds columns in place, without copying the table."""
    for name, length in _COLUMNS:
        op.add_column("audit", sa.Column(name, sa.String(length)))
