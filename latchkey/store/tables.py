"""The tables of every database, in SQLAlchemy Core; the migrations of each make them.

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
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly this type.
_ID = BigInteger().with_variant(Integer, "sqlite")

credential = Table(
    "credential",
    metadata,
    # AUTOINCREMENT: without it SQLite would give the highest id out again after a delete.
    Column("id", _ID, primary_key=True),
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
    # The key of the successor. What ``expires_at`` was before the first rotation counts only
    # where there is one.
    Column("rotated_to", String(30)),
    Column("original_expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("first_used_at", BigInteger),
    # "derived" from one of our keys, or "imported" as the hash of another system's token.
    Column("origin", String(8), nullable=False, server_default="derived"),
    Index(None, "mode", "id"),
    Index(
        "uq_credential_imported_hash",
        "secret_hash",
        unique=True,
        sqlite_where=text("origin = 'imported'"),
        postgresql_where=text("origin = 'imported'"),
    ),
    # In the order of a sorted listing, with what it is filtered by.
    Index("ix_credential_expires_at", "expires_at", "id", "mode", "revoked_at"),
    sqlite_autoincrement=True,
)

# One row for each change, made in its transaction: what whoever remembers credentials replays
# where the process that changed them could not say so. AUTOINCREMENT: a reader goes on from the
# last number it has seen.
invalidation = Table(
    "invalidation",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("lookup", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Uses of a credential by hour, named by its beginning. No foreign key: what was counted for a row
# that a restored backup does not have must not hold up the counts of the others.
usage = Table(
    "usage",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("uses", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How often a credential was refused although its secret was right, by reason.
refusal = Table(
    "refusal",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("reason", String(16), primary_key=True),
    Column("refusals", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The addresses that a credential was last used from, a few of each.
sighting = Table(
    "sighting",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("address", String(40), primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How much of a segment's cumulative counters the tables above contain: written in the same
# transaction, so that nothing is counted twice or lost, whenever the one who counts dies.
usage_watermark = Table(
    "usage_watermark",
    metadata,
    Column("segment", String(32), primary_key=True),
    Column("credential_id", _ID, primary_key=True),
    Column("uses", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    Column("scope", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Who may sign in to the console. AUTOINCREMENT: a session must never come to belong to another.
administrator = Table(
    "administrator",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("signed_in_at", BigInteger),
    sqlite_autoincrement=True,
)

# Sign-ins that have not ended, by SHA-256 of the token that only the browser has. ``messages`` is
# what the next page tells, as JSON; empty for nothing.
console_session = Table(
    "console_session",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("administrator_id", _ID, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("messages", String, nullable=False),
    Index(None, "administrator_id"),
)

# The link that makes the first administrator, by SHA-256 of its token: one at most.
set_up_link = Table(
    "set_up_link",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)

# Who did what: only ever added to, numbered without gaps, so by the change itself and not by the
# database. ``mac`` is in hex, and chains the row to the one before it.
audit = Table(
    "audit",
    metadata,
    Column("number", _ID, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor", String(100)),
    Column("address", String(64)),
    Column("subject", String(100)),
    Column("detail", String, nullable=False),
    Column("mac", String(64), nullable=False),
    Index(None, "subject", "number"),
    # The rows that made keys.
    Index(
        "ix_audit_import",
        "at",
        sqlite_where=text("action = 'key.import'"),
        postgresql_where=text("action = 'key.import'"),
    ),
)
