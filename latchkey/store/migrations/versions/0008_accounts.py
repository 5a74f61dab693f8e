"""Accounts: the table, the instance account, and all credentials in it."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

from latchkey.credentials.accounts import ACCOUNT_PREFIX, INSTANCE_NAME
from latchkey.credentials.tokens import new_id

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and move every credential into the instance account."""
    created = op.create_table(
        "account",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("id", sa.String(27), nullable=False),
        sa.Column("name", sa.String(100)),
        sa.Column("external_id", sa.String(255)),
        sa.Column("metadata", sa.String),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("erased_at", sa.BigInteger),
        sa.Column("instance", sa.Integer, nullable=False, server_default="0"),
        sa.UniqueConstraint("id", name="uq_account_id"),
        sa.UniqueConstraint("external_id", name="uq_account_external_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_account_instance",
        "account",
        ["instance"],
        unique=True,
        sqlite_where=sa.text("instance = 1"),
        postgresql_where=sa.text("instance = 1"),
    )
    instance = f"{ACCOUNT_PREFIX}{new_id()}"
    op.bulk_insert(
        created,
        [
            {
                "id": instance,
                "name": INSTANCE_NAME,
                "created_at": time.time_ns() // 1_000_000,
                "instance": 1,
            }
        ],
    )
    credential = sa.table("credential", sa.column("account_id"))
    op.execute(credential.update().values(account_id=instance))
    op.create_index(
        "ix_credential_account_id_mode_id",
        "credential",
        ["account_id", "mode", "id", "revoked_at", "expires_at"],
    )
