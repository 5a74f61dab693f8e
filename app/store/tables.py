"""The tables, in SQLAlchemy Core; the migrations make them.

Times are whole milliseconds since 1970 in UTC, so that they compare and sort exactly in every
database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

credential = Table(
    "credential",
    metadata,
    # AUTOINCREMENT: without it SQLite would give the highest id out again after a delete.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("api_key", String(30), nullable=False, unique=True),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("derivation_id", String(16), nullable=False),
    Column("account_id", String(27), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("name", String(100)),
    Column("scopes", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index(None, "mode", "id"),
    sqlite_autoincrement=True,
)
